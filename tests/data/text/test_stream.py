from __future__ import annotations

import json
import pickle
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.text.characters import CharacterTokenizer
from chirpid.data.text.dataset import TextDataset
from chirpid.data.text.stream import TextStream
from chirpid.errors import ConfigError, DataError
from tests.examples import examples

LETTERS = CharacterTokenizer("0123456789abcdefghij")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of lines of several lengths, with blank ones; all lines are different."""
    place = tmp_path_factory.mktemp("lines")
    written = []
    for name, first in (("0.txt", 0), ("1.txt", 100)):
        rows = [str(first + at) + "abcdefghij"[: at * 3 % 11] for at in range(17)]
        rows[5:5] = ["", " \t"]
        (place / name).write_bytes("\r\n".join(rows).encode())
        written.append(place / name)
    return written


def stream_of(source: Any, **options: Any) -> TextStream:
    return TextStream(source, tokenizer=LETTERS, **{"max_length": 6, **options})


def texts_of(samples: Any) -> list[str]:
    return [LETTERS.decode(sample["input_ids"]) for sample in samples]


def same(ones: list[Any], others: list[Any]) -> bool:
    return len(ones) == len(others) and all(
        one.keys() == other.keys() and all(torch.as_tensor(one[k] == other[k]).all() for k in one)
        for one, other in zip(ones, others, strict=True)
    )


@pytest.mark.parametrize("stride", [None, 4])
def test_a_stream_gives_the_samples_of_the_dataset(paths: list[Path], stride: int | None) -> None:
    expected = [
        sample
        for path in paths
        for sample in TextDataset(path, tokenizer=LETTERS, max_length=6, stride=stride)  # type: ignore[attr-defined]
    ]
    stream = stream_of(paths, stride=stride)
    assert same(list(stream), expected)
    assert same(list(stream), expected)  # once more, from the begin


@given(
    begun=st.integers(0, 70),
    num_parts=st.sampled_from([1, 1, 2, 3, 5]),
    stride=st.sampled_from([None, 1, 4]),
)
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whoever_resumes_misses_nothing_and_gets_nothing_twice(
    paths: list[Path], begun: int, num_parts: int, stride: int | None
) -> None:
    for rank in range(num_parts):
        part = {"rank": rank, "num_ranks": num_parts, "stride": stride}
        whole = list(stream_of(paths, **part))
        first = stream_of(paths, **part)
        before = list(islice(first, begun))
        if len(before) < begun:
            continue
        state = json.loads(json.dumps(first.state_dict()))
        second = stream_of(paths, **part)
        second.load_state_dict(state)
        assert same(before + list(second), whole)
        assert same(list(second), whole)  # the next epoch is a whole one


def test_a_state_of_one_process_goes_on_in_any_number_of_parts(paths: list[Path]) -> None:
    first = stream_of(paths)
    before = texts_of(islice(first, 20))
    after = []
    for rank in range(3):
        part = stream_of(paths, rank=rank, num_ranks=3)
        part.load_state_dict(first.state_dict())
        after += texts_of(part)
    assert sorted(before + after) == sorted(texts_of(stream_of(paths)))


def test_a_state_of_another_part_is_refused(paths: list[Path]) -> None:
    first, second = (stream_of(paths, rank=rank, num_ranks=2) for rank in (0, 1))
    next(iter(first))
    second.load_state_dict(first.state_dict())
    with pytest.raises(ConfigError, match="of part 0 of 2, and this is part 1 of 2"):
        iter(second)
    with pytest.raises(ConfigError, match="no state of a TextStream"):
        second.load_state_dict({"epoch": 1})


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.parametrize("num_workers", [0, 3])
def test_workers_and_ranks_share_the_texts_without_repeating_any(
    paths: list[Path], num_workers: int
) -> None:
    shares = []
    for rank in range(2):
        stream = stream_of(paths, rank=rank, num_ranks=2)
        method = "fork" if num_workers else None
        loader = DataLoader(
            stream, batch_size=4, num_workers=num_workers, multiprocessing_context=method
        )
        shares.append(
            [text for batch in loader for text in map(LETTERS.decode, batch["input_ids"])]
        )
    assert len(shares[0]) == len(shares[1]) == 17
    assert sorted(shares[0] + shares[1]) == sorted(texts_of(stream_of(paths)))


def test_ranks_are_those_that_torchrun_started(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    expected = texts_of(stream_of(paths, rank=1, num_ranks=2))
    sent = pickle.loads(pickle.dumps(stream_of(paths)))  # as to a worker, where nobody knows
    monkeypatch.undo()
    assert texts_of(sent) == expected


def test_json_lines_have_labels(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"say": "a", "is": "owl"}\n\n{"say": "b", "is": "auk"}\n{"say": " ", "is": 0}\n'
    )
    stream = stream_of(path, text_column="say", labels="is", classes=["auk", "owl"])
    assert [sample["label"] for sample in stream] == [1, 0]
    with pytest.raises(ConfigError, match="a stream has not seen them all"):
        list(stream_of(path, text_column="say", labels="is"))


def test_bad_lines_are_named_or_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"a\n\xff\n\nb\nabcdefgh\n")
    with pytest.raises(DataError, match=r"t\.txt, line 2 is not UTF-8.*on_bad='skip'"):
        list(stream_of(path))
    stream = stream_of(path, on_bad="skip")
    assert texts_of(stream) == ["a", "b", "abcdef"]
    assert (stream.num_bad, stream.bad[0].name, stream.num_cut) == (1, "t.txt, line 2", 1)
    resumed = stream_of(path)
    begun = iter(stream)
    next(begun), next(begun)
    resumed.load_state_dict(stream.state_dict())
    assert texts_of(resumed) == ["abcdef"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 1}, "both rank and num_ranks"),
        ({"rank": 2, "num_ranks": 2}, "ranks 0 to 1"),
        ({"labels": "kind"}, "needs files that end in .jsonl"),
        ({"stride": 7}, "stride=7"),
    ],
)
def test_a_wrong_setting_is_one_line(paths: list[Path], options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        stream_of(paths, **options)
    assert said in str(caught.value)


def test_what_cannot_be_streamed_is_said(tmp_path: Path, paths: list[Path]) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"lost\.txt: no such file"):
        stream_of(tmp_path / "lost.txt")
    with pytest.raises(DatasetNotFoundError, match="names no file"):
        stream_of([])
    for name, said in (("t.csv", "A table cannot be streamed"), ("t.jsonl", "others are not")):
        (tmp_path / name).write_text("text\n")
        with pytest.raises(ConfigError, match=said):
            stream_of([*paths, tmp_path / name])
