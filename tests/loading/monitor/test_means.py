"""Epochs in a row: what they come to together, and not what the fast ones favour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.loading.monitor import mean_figures

SECONDS = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(SECONDS, st.floats(0, 1)), min_size=1, max_size=9), st.integers(1, 500))
def test_rates_and_shares_are_those_of_all_epochs_in_a_row(
    epochs: list[tuple[float, float]], num_samples: int
) -> None:
    whole_s = sum(seconds for seconds, _ in epochs)
    told = mean_figures([
        {"loader/samples_per_s": num_samples / seconds, "loader/wait_share": share,
         "loader/wait_ms_mean": 1e3 * seconds * share, "valid/loss": share}
        for seconds, share in epochs
    ])  # fmt: skip
    assert told["loader/samples_per_s"] == pytest.approx(len(epochs) * num_samples / whole_s)
    waited_s = sum(seconds * share for seconds, share in epochs)
    assert told["loader/wait_share"] == pytest.approx(waited_s / whole_s, abs=1e-9)
    assert told["loader/wait_ms_mean"] == pytest.approx(1e3 * waited_s / len(epochs), abs=1e-6)
    assert told["valid/loss"] == pytest.approx(sum(s for _, s in epochs) / len(epochs), abs=1e-9)


def test_what_an_epoch_does_not_tell_is_that_of_the_others() -> None:
    told = mean_figures(
        [
            {"loader/samples_per_s": 10.0, "loader/cpu_share": 1.0},
            {"loader/samples_per_s": 10.0},
            {"loader/samples_per_s": 0.0, "loader/cpu_share": 3.0},
        ]
    )
    assert told == {"loader/samples_per_s": 0.0, "loader/cpu_share": 2.0}
    assert mean_figures([]) == {}
