"""What language models are to learn: the next token, or hidden ones by keyed draws."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.collate import LanguageModelCollator
from chirpid.errors import ConfigError, DataError
from tests.data.collate.test_text import IDS, TEXTS, Hugging, tokenizer
from tests.examples import examples

PAD, MASK, FIRST, SIZE = 0, 1, 5, 105


def masked(**options: Any) -> LanguageModelCollator:
    known = {"pad_id": PAD, "mask_id": MASK, "num_tokens": SIZE, "special": range(FIRST)}
    return LanguageModelCollator(objective="masked", **{**known, **options})


def documents(lengths: list[int], seed: int = 0) -> list[np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(FIRST, SIZE, length) for length in lengths]


def test_labels_of_the_next_token_leave_out_the_padding_alone() -> None:
    """Where padding has the id of the end of text, as for models without one of its own."""
    end = 3
    batch = LanguageModelCollator(pad_id=end)(IDS)
    real = batch["attention_mask"].bool()
    assert torch.equal(batch["labels"][real], batch["input_ids"][real])
    assert (batch["labels"][~real] == -100).all()
    assert (batch["labels"] == end).sum() == len(IDS)


def test_cross_entropy_leaves_padding_out() -> None:
    batch = LanguageModelCollator(tokenizer=tokenizer())(TEXTS)
    logits = torch.zeros(*batch["labels"].shape, 14)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(),
                                             reduction="sum")  # fmt: skip
    num_real = sum(map(len, IDS))
    assert loss.item() == pytest.approx(num_real * np.log(14), rel=1e-5)


def parts(batch: dict[str, torch.Tensor], row: int) -> tuple[list[int], list[int]]:
    real = batch["attention_mask"][row].bool()
    return batch["input_ids"][row][real].tolist(), batch["labels"][row][real].tolist()


@given(
    lengths=st.lists(st.integers(1, 30), min_size=2, max_size=6),
    seed=st.integers(-(2**63), 2**63 - 1),
    side=st.sampled_from(["left", "right"]),
    multiple_of=st.integers(1, 9),
)
@settings(max_examples=examples(60), deadline=None)
def test_a_sample_is_masked_alike_in_whatever_batch(
    lengths: list[int], seed: int, side: str, multiple_of: int
) -> None:
    texts = documents(lengths)
    together = masked(seed=seed)(texts)
    other = masked(seed=seed, side=side, multiple_of=multiple_of)(texts[::-1])
    for row, text in enumerate(texts):
        alone = parts(masked(seed=seed)([text]), 0)
        assert parts(together, row) == alone
        assert parts(other, len(texts) - 1 - row) == alone


def test_another_seed_epoch_key_or_text_is_masked_otherwise() -> None:
    (text,) = documents([400])
    sample = {"input_ids": text, "key": 1}
    makers = [
        (masked(), sample), (masked(seed=1), sample), (masked(epoch=1), sample),
        (masked(key_field="key"), sample), (masked(key_field="key"), {**sample, "key": 2}),
        (masked(key_field="key"), {**sample, "key": "clip.wav"}),
        (masked(), {**sample, "input_ids": np.append(text, FIRST)}),
    ]  # fmt: skip
    chosen = {tuple((maker([each])["labels"][0][:400] >= 0).tolist()) for maker, each in makers}
    assert len(chosen) == len(makers)
    again, same = masked().at_epoch(1)([text]), masked(epoch=1)([text])
    assert torch.equal(again["labels"], same["labels"])


def test_shares_are_those_of_bert() -> None:
    batch = masked()(documents([500] * 200))
    labels, shown = batch["labels"].numpy(), batch["input_ids"].numpy()
    original = np.stack(documents([500] * 200))
    asked = labels != -100
    num = asked.sum()
    assert np.array_equal(labels[asked], original[asked])
    assert np.array_equal(shown[~asked], original[~asked])
    # Five standard deviations of a share of this many draws.
    assert asked.mean() == pytest.approx(0.15, abs=5 * (0.15 * 0.85 / asked.size) ** 0.5)
    hidden = (shown[asked] == MASK).mean()
    kept = (shown[asked] == original[asked]).mean()
    assert hidden == pytest.approx(0.8, abs=5 * (0.16 / num) ** 0.5)
    assert kept == pytest.approx(0.1 + 0.1 / (SIZE - FIRST), abs=5 * (0.09 / num) ** 0.5)


def test_other_tokens_are_drawn_evenly_and_never_special() -> None:
    special = [0, 1, 2, 50, 51, 103]
    text = documents([500] * 400)
    text = [np.where(np.isin(each, special), FIRST, each) for each in text]
    batch = masked(mask_share=1.0, special=special)(text)
    other = batch["input_ids"][(batch["input_ids"] != MASK)
                               & (batch["input_ids"] != torch.tensor(np.stack(text)))]  # fmt: skip
    counts = np.bincount(other.numpy(), minlength=SIZE)
    assert not counts[special].any()
    drawn = np.delete(counts, special)
    assert drawn.min() > 0
    assert abs(drawn / drawn.mean() - 1).max() < 0.35


def test_special_tokens_and_padding_are_never_asked_for() -> None:
    batch = LanguageModelCollator(tokenizer=tokenizer(), objective="masked", mask_share=1.0)(TEXTS)
    original = LanguageModelCollator(tokenizer=tokenizer())(TEXTS)["input_ids"]
    asked = batch["labels"] != -100
    assert torch.equal(asked, original >= 5)
    assert torch.equal(batch["labels"][asked], original[asked])
    assert torch.equal(batch["input_ids"][~asked], original[~asked])


def test_both_kinds_of_tokenizer_name_their_special_ids() -> None:
    ours = LanguageModelCollator(tokenizer=tokenizer(), objective="masked")(TEXTS)
    theirs = LanguageModelCollator(tokenizer=Hugging(), objective="masked")(TEXTS)
    assert torch.equal(ours["input_ids"], theirs["input_ids"])


def test_draws_are_the_same_on_every_machine() -> None:
    batch = masked(seed=3)([np.arange(FIRST, FIRST + 40)])
    asked = (batch["labels"][0] != -100).nonzero()[:, 0]
    assert asked.tolist() == [19, 20, 24]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objective": "next"}, "Choices: causal, masked."),
        ({"mask_share": 0}, "mask_share=0 must be above 0"),
        ({"objective": "masked"}, "mask_id is not set"),
        ({"objective": "masked", "mask_id": 1}, "num_tokens is not set"),
        ({"objective": "masked", "mask_id": 1, "num_tokens": 2}, "leaves no token"),
    ],
)
def test_settings_are_checked_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        LanguageModelCollator(pad_id=0, **options)
    assert told in str(error.value)


def test_labels_that_are_there_already_are_not_written_over() -> None:
    with pytest.raises(DataError, match=r"sample\['labels'\] is there already"):
        LanguageModelCollator(pad_id=0)([{"input_ids": [1, 2], "labels": [1, 2]}])
    with pytest.raises(DataError, match=r"sample\['labels'\] is there already"):
        LanguageModelCollator(pad_id=0)([{"input_ids": [1, 2], "labels": 1}])


def test_a_key_needs_dicts_that_have_it() -> None:
    with pytest.raises(DataError, match="key_field=key needs samples that are dicts"):
        masked(key_field="key")([[5, 6]])
    with pytest.raises(DataError, match=r"sample\['key'\] is in sample 0"):
        masked(key_field="key")([{"input_ids": [5], "key": 1}, {"input_ids": [5]}])


def test_it_survives_pickling() -> None:
    collate = masked(seed=4)
    copy = pickle.loads(pickle.dumps(collate))
    assert copy == collate
    assert torch.equal(copy(IDS)["labels"], collate(IDS)["labels"])
