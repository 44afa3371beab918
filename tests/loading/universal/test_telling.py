"""What a loader tells of itself is true, and leads to something to type."""

from __future__ import annotations

import re
import time

import pytest
import torch
from torch.utils.data import TensorDataset

from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.telling import advice, explain, explanation
from chirpid.types import IntArray
from tests.anydata import Broken, Squares, Stream
from tests.loading.universal.test_loader import quiet


class Reader:
    """Writes batches, which takes work of its own."""

    layout = Layout((Leaf(torch.float32),))

    def __len__(self) -> int:
        return 70

    def read_into(self, ids: IntArray, out: Columns) -> None:
        out.tensors[0].fill_(1.0)


def test_every_decision_is_told_with_its_reason() -> None:
    told = explanation(make_loader(TensorDataset(torch.zeros(70, 3)), 8))
    assert "70 samples, 9 batches; columns in memory" in told
    assert "inline" in told
    assert "a gather is quicker than handing it over" in told
    assert "nothing measured yet" in told


def test_after_a_pass_its_figures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    loader = make_loader(Squares(), 8)
    for _ in loader:
        time.sleep(0.002)
    explain(loader)
    told = capsys.readouterr().out
    assert "measured in the last of 1 passes" in told
    assert "a sample took: item" in told
    assert "too short to advise by" in told
    figures = loader.passes[0]
    assert figures["loader/step_ms"] >= 2
    assert figures["loader/item_ms_per_sample"] > 0


def test_a_pass_that_was_left_counts_as_far_as_it_came() -> None:
    loader = make_loader(Squares(), 10)
    for number, _ in enumerate(loader):
        if number == 1:
            break
    for _ in loader:
        pass
    assert len(loader.passes) == 2


def test_samples_that_were_left_out_are_told_with_their_reasons() -> None:
    loader = make_loader(Broken(), 8, on_bad="skip")
    list(loader)
    told = explanation(loader)
    assert "7 samples were left out so far" in told
    assert "sample 3: OSError: file 3 is damaged" in told


@pytest.mark.parametrize(
    ("dataset", "settings", "expected"),
    [
        (TensorDataset(torch.zeros(70)), {}, "copying rows is the limit"),
        (Squares(), {"backend": "inline"}, "optimize_dataset.*or backend='processes'"),
        (Stream(), {}, "num_workers=1 reads ahead"),
        (Reader(), {"backend": "inline"}, "backend='processes' reads ahead"),
        (Reader(), {"backend": "threads", "num_workers": 1}, "reading is the limit with 1 workers"),
    ],
    ids=["columns", "items", "stream", "reader", "reader by threads"],
)
def test_advice_leads_to_what_can_be_typed(dataset, settings, expected) -> None:
    loader = make_loader(dataset, 1, say=quiet, **settings)
    for _ in loader:
        pass
    loader.monitor.stepped_s[-1] += 10  # long enough to advise by
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chirpid.loading.universal.telling.ENOUGH_S", 0.0)
        sentence = advice(loader, {"loader/wait_share": 0.5})
    assert re.search(expected, sentence)
    assert "at most 2.0 times as fast" in sentence
    assert advice(loader, {"loader/wait_share": 0.01}).startswith("none:")
