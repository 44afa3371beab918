"""Every stage of loading, and all that bounds a run, has its words."""

from __future__ import annotations

import pytest

from chirpid.loading.stages import STAGES, UNKNOWN, bound_of, bound_phrase, label, phrase


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_a_label_a_phrase_and_bounds_by_a_name_that_has_words(stage: str) -> None:
    assert phrase(stage) != stage
    assert bound_of(stage) in (label(stage), "disk")
    assert bound_phrase(bound_of(stage)) not in (stage, bound_of(stage))


def test_what_has_no_words_keeps_its_name() -> None:
    assert label("decode") == "decode"
    assert phrase("a stage of mine") == bound_phrase("a stage of mine") == "a stage of mine"
    assert bound_phrase(UNKNOWN) == "too short to tell"
