"""Keyed hashes are uniform, unrelated to their inputs' order, and the same everywhere."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chirpid.seeds import _GAMMA, keys_of, mix64, seed_everything, text_key, uniform

WORDS = st.integers(0, 2**64 - 1)
MANY = np.arange(200_000, dtype=np.uint64)


def plain_mix(*values: int) -> int:
    """The same hash with Python's own integers."""
    mask, state = 2**64 - 1, 0
    for value in values:
        state = (state + 0x9E3779B97F4A7C15 & mask) ^ value
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
        state ^= state >> 31
    return state


@pytest.mark.parametrize("values", [(MANY,), (7, MANY), (MANY, 7), (1, 2, 3, MANY, 4)])
def test_hashes_of_neighbours_are_uniform_in_every_byte(values: tuple[object, ...]) -> None:
    hashes = mix64(*values)  # type: ignore[arg-type]
    for shift in range(0, 64, 8):
        counts = np.bincount((hashes >> np.uint64(shift)).astype(np.uint8), minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4
    assert len(np.unique(hashes)) == len(MANY)


def test_uniform_numbers_are_uniform_and_neighbours_unrelated() -> None:
    numbers = uniform(3, MANY)
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(numbers, uniform(4, MANY))[0, 1]) < 0.01
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0


def test_one_bit_of_input_changes_half_of_the_output() -> None:
    base = mix64(5, MANY[:2000])
    for bit in range(0, 64, 7):
        changed = base ^ mix64(5, MANY[:2000] ^ np.uint64(1 << bit))
        flipped = np.unpackbits(changed.view(np.uint8)).mean() * 64
        assert 31 < flipped < 33


@given(WORDS, WORDS)
def test_order_and_number_of_values_matter(a: int, b: int) -> None:
    assert (mix64(a, b) == mix64(b, a)) == (a == b)
    # After any a there is one b of 2**64 that leaves the hash what it is.
    same = (int(mix64(a)) + _GAMMA) % 2**64 ^ _GAMMA ^ a
    assert (mix64(a) == mix64(a, b)) == (b == same)


@given(st.lists(WORDS, min_size=1, max_size=20), WORDS)
def test_arrays_give_what_single_values_give(values: list[int], seed: int) -> None:
    together = mix64(seed, np.array(values, dtype=np.uint64))
    assert together.tolist() == [int(mix64(seed, value)) for value in values]


@given(st.integers(-(2**70), 2**70), WORDS)
def test_integers_are_taken_modulo_two_to_the_64(value: int, other: int) -> None:
    assert mix64(value, other) == mix64(value % 2**64, other)


def test_the_values_are_those_of_every_machine_and_version() -> None:
    assert int(mix64(1, 2, 3)) == 16914669369030367833 == plain_mix(1, 2, 3)
    assert text_key("Zaunkönig.wav") == int.from_bytes(
        __import__("hashlib").blake2b("Zaunkönig.wav".encode(), digest_size=8).digest(), "little"
    )
    code = "from chirpid.seeds import text_key, mix64; print(text_key('a/b.ogg'), int(mix64(9, 8)))"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "77", "PATH": ""},
    )  # fmt: skip
    assert other.stdout.split() == [str(text_key("a/b.ogg")), str(int(mix64(9, 8)))]


def test_keys_of_texts_are_their_keys() -> None:
    texts = ["a", "b", "", "ü"]
    assert keys_of(texts).tolist() == [text_key(text) for text in texts]
    assert keys_of([]).shape == (0,)


def test_seeding_everything_repeats_all_three_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(2**40 + 5)  # numpy takes 32 bits; the others tell them apart
    assert draw() != first
