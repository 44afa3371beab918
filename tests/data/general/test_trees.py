"""Samples taken apart and put together are what torch's collate makes of their structure."""

from __future__ import annotations

from collections import OrderedDict, namedtuple

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import default_collate

from chirpid.data.general.trees import leaves_of, map_leaves, skeleton_of

Point = namedtuple("Point", ["x", "y"])

KEYS = st.text(st.characters(categories=["Ll"]), min_size=1, max_size=3)
SAMPLES = st.recursive(
    st.integers(-5, 5) | st.floats(-1, 1) | st.booleans(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, min_size=1, max_size=3),
        st.tuples(inner, inner).map(lambda pair: Point(*pair)),
    ),
    max_leaves=8,
)


def alike(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.equal(other)
    if isinstance(one, str) or type(one) is not type(other) or len(one) != len(other):
        return one == other
    if isinstance(one, dict):
        return list(one) == list(other) and all(alike(one[key], other[key]) for key in one)
    return all(map(alike, one, other))


@given(SAMPLES)
def test_the_structure_of_a_batch_is_that_of_torchs_collate(sample: object) -> None:
    ours = map_leaves(sample, lambda leaf: default_collate([leaf, leaf]))
    assert alike(ours, default_collate([sample, sample]))


@given(SAMPLES)
def test_leaves_are_as_many_as_their_names_and_the_skeleton_says(sample: object) -> None:
    skeleton = skeleton_of(sample)
    names = skeleton.names()
    assert len(leaves_of(sample)) == skeleton.num_leaves == len(names) == len(set(names))


def test_leaves_have_the_names_that_a_user_would_type() -> None:
    sample = {"image": 0, "boxes": [1, {"x": 2}], "at": Point(3, 4)}
    assert skeleton_of(sample).names() == ["image", "boxes[0]", "boxes[1].x", "at.x", "at.y"]
    assert skeleton_of(3).names() == [""]


def test_mappings_keep_their_type_and_texts_are_leaves() -> None:
    sample = OrderedDict(a="text", b=b"bytes")
    assert leaves_of(sample) == ["text", b"bytes"]
    assert type(map_leaves(sample, len)) is OrderedDict
