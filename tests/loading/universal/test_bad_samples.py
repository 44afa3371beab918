"""What cannot be loaded is left out, counted and named, or refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from chirpid.data.general.columns import layout_of
from chirpid.errors import ChirpError, ConfigError, DataError, TrainingError
from chirpid.loading.universal.easy import make_loader
from chirpid.types import Backend
from tests.anydata import Broken, Noisy, Ragged, Squares
from tests.loading.universal.test_loader import WAYS, epoch_of, quiet, same


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("collate", [None, "default"], ids=str)
def test_samples_that_cannot_be_made_are_left_out_counted_and_named(
    way: dict[str, Any], collate: str | None
) -> None:
    with make_loader(
        Broken(50), 8, shuffle=False, on_bad="skip", collate=collate, say=quiet, **way
    ) as loader:
        seen = torch.cat([batch["square"] for batch in loader])
        assert loader.num_skipped == 7
        assert loader.skipped[3] == "OSError: file 3 is damaged"
        assert sorted(loader.skipped) == list(range(3, 50, 7))
    assert seen.tolist() == [i * i for i in range(50) if i % 7 != 3]


def test_a_batch_of_which_nothing_is_left_is_not_handed_out() -> None:
    sizes = [len(b["square"]) for b in epoch_of(Broken(10), batch_size=1, shuffle=False,
                                                on_bad="skip")]  # fmt: skip
    assert sizes == [1] * 9


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_sample_that_cannot_be_made_ends_the_pass_and_not_the_loader(way: dict[str, Any]) -> None:
    with make_loader(Broken(50), 2, shuffle=False, say=quiet, **way) as loader:
        for _ in range(2):
            passing = iter(loader)
            assert next(passing)["square"].tolist() == [0, 1]
            with pytest.raises((OSError, TrainingError), match="file 3 is damaged"):
                next(passing)


@pytest.mark.parametrize("data", [[], torch.zeros(0, 3), Squares(0), Subset(Squares(), [])],
                         ids=["list", "tensor", "dataset", "subset"])  # fmt: skip
def test_nothing_to_load_is_said(data: Any) -> None:
    with pytest.raises(DataError, match="no samples"):
        make_loader(data)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"loader": "fast"}, "loader='fast' is not known.*There are: safe"),
        ({"backend": "thread"}, "Did you mean 'threads'"),
        ({"hardware": "rtx5081"}, "Did you mean 'rtx5080'"),
        ({"num_workers": -1}, "num_workers=-1 is out of range"),
        ({"on_bad": "ignore"}, "on_bad='ignore' is not known"),
        ({"collate": "vison"}, "Unknown collator 'vison'. Did you mean 'vision'"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 100, "drop_last": True}, "drop_last drops all"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ChirpError, match=said):
        make_loader(Squares(), **settings)


def test_what_holds_no_samples_is_refused() -> None:
    with pytest.raises(DataError, match="int is no dataset"):
        make_loader(3)


def test_samples_that_make_no_batch_lead_to_the_collators() -> None:
    with pytest.raises(ConfigError, match=r"collate='pad'; registered are audio, .*default"):
        make_loader(Ragged())
    with make_loader(Ragged(9), 3, shuffle=False, collate="pad") as loader:
        assert len(list(loader)) == 3


def test_threads_are_not_given_what_draws() -> None:
    said: list[str] = []
    with make_loader(Noisy(), 8, backend="threads", num_workers=1, start_method="fork",
                     say=said.append) as loader:  # fmt: skip
        assert loader.loader.name is Backend.processes
    assert "draw random numbers" in said[0]


def test_loading_gives_up_workers_when_memory_runs_out_and_goes_on_with_the_same_batches() -> None:
    class Hungry(Squares):
        def __init__(self) -> None:
            super().__init__()
            self.fails = True

        def __getitem__(self, index: int) -> dict[str, Any]:
            if index == 30 and self.fails:
                self.fails = False
                raise MemoryError("can't allocate memory")
            return super().__getitem__(index)

    said: list[str] = []
    with make_loader(Hungry(), 8, shuffle=False, backend="threads", num_workers=2,
                     say=said.append) as loader:  # fmt: skip
        assert same(list(loader), list(DataLoader(Squares(), 8)))
    assert any(line.startswith("loader: ") and "frees" in line for line in said)


def test_a_reader_leaves_out_what_it_cannot_read() -> None:
    class Reader(Broken):
        layout = layout_of([Squares()[0]])

        def read_into(self, ids: Any, out: Any) -> None:
            for row, index in enumerate(ids.tolist()):
                out.tensors[0][row], out.tensors[1][row] = self[index].values()

    with make_loader(Reader(20), 8, shuffle=False, on_bad="skip") as loader:
        seen = torch.cat([batch["square"] for batch in loader])
    assert seen.tolist() == [i * i for i in range(20) if i % 7 != 3]
    with make_loader(Reader(3), 8, shuffle=False) as loader:
        assert same(list(loader), list(DataLoader(Squares(3), 8)))


def test_samples_outside_of_a_subset_do_not_matter() -> None:
    good = [i for i in range(50) if i % 7 != 3]
    batches = epoch_of(Subset(Subset(Broken(), good), range(0, 40, 2)), shuffle=False)
    assert torch.cat([b["square"] for b in batches]).tolist() == [i * i for i in good[:40:2]]
