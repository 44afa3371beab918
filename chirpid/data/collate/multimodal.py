"""Batches of samples with several modalities, some of which may be missing.

Letters: B batch, P samples of it that have a field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from chirpid.data.collate.default import Collator, DefaultCollator, some
from chirpid.data.collate.fields import outline
from chirpid.data.collate.looks import of_field
from chirpid.data.collate.padding import one_of
from chirpid.data.collate.tree import path_text
from chirpid.errors import ConfigError, DataError


@dataclass(slots=True, kw_only=True)
class MultimodalCollator:
    """Gives each field of a dict to a collator of its own, and says who has it.

    A field is missing in a sample if it is None or not there. Only fields that are named in
    `fields`, or that look like a recording, an image or a text, may be: a label made up for a
    sample that has none would be learnt.
    """

    fields: Mapping[str, str | Collator] = field(default_factory=dict)
    """A collator for a field, or the name of a registered one. Fields that are not named are
    looked at, which says less: name those that may be missing in all samples of a batch."""
    missing: str = "fill"
    """"fill": such samples have rows of padding, so that all fields have B rows.
    "leave_out": the field has the rows of those that have it, P of them, in their order.
    "error": none may be missing."""
    presence: str = "present"
    """Key of the batch that says of each field which samples have it, bool [B]."""
    make: Callable[[str], Collator] | None = None
    """Makes a collator of a name; None for the registry `collators`."""
    _own: dict[str, Collator] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        one_of("missing", self.missing, ("fill", "leave_out", "error"))
        if self.presence in self.fields:
            raise ConfigError(
                f"presence={self.presence} is a field, too. Set presence to another key."
            )
        self._own = {
            key: self._made(each) if isinstance(each, str) else each
            for key, each in self.fields.items()
        }

    def __call__(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return a dict with each field's batch, and under `presence` who has it.

        A field that no sample has is None.

        Raises:
            DataError: a sample is no dict, lacks what must not be missing, or a field's collator
                refuses it.
        """
        some(samples)
        self._check(samples)
        keys = dict.fromkeys([*self._own, *(key for sample in samples for key in sample)])
        batch: dict[str, Any] = {}
        present: dict[str, Tensor] = {}
        for key in keys:
            has = [sample.get(key) is not None for sample in samples]
            batch[key] = self._field(key, [sample.get(key) for sample in samples], has)
            present[key] = torch.tensor(has)
        return {**batch, self.presence: present}

    def _field(self, key: str, values: list[Any], has: list[bool]) -> Any:
        there = [value for value, is_there in zip(values, has, strict=True) if is_there]
        collator = self._own.get(key)
        if collator is None:
            choice = of_field(there[0], key) if there else None
            collator = self._made(choice.name) if choice else None
        if not all(has) and (collator is None or self.missing == "error"):
            raise DataError(
                f"{path_text((key,))} is missing in sample {has.index(False)} of the batch. Name "
                'it in fields if it may be, with missing="fill" or "leave_out".'
            )
        if not there:
            return None
        try:
            made = (collator or DefaultCollator())(there)
        except DataError as error:
            raise DataError(f"{path_text((key,))}, where sample is that field: {error}") from error
        if all(has) or self.missing == "leave_out":
            return made
        rows = torch.tensor(has).nonzero()[:, 0]
        return _spread(made, rows, len(has), getattr(collator, "fills", {}))

    def _made(self, name: str) -> Collator:
        if self.make is not None:
            return self.make(name)
        from chirpid.data.collate.builtin import collators  # it registers this class

        return collators.make(name)

    def _check(self, samples: Sequence[Any]) -> None:
        for n, sample in enumerate(samples):
            if not isinstance(sample, Mapping):
                raise DataError(
                    f"multimodal takes dicts, and sample {n} of the batch is {outline(sample)}. "
                    'Return one, such as {"image": ..., "text": ..., "label": ...}.'
                )
            if self.presence in sample:
                raise DataError(
                    f"{path_text((self.presence,))} is in sample {n} of the batch, and it is the "
                    "key of who has what. Set presence to another key."
                )


def _spread(
    made: Any, rows: Tensor, num_rows: int, fills: Mapping[str, float], name: str = ""
) -> Any:
    """Return what was made of some samples with rows for all, padding where a sample has none."""
    if isinstance(made, Tensor):
        if made.dim() == 0 or len(made) != len(rows):
            raise DataError(
                f"A batch of {len(rows)} has {list(made.shape)} somewhere, no row for each, so "
                'rows cannot be filled in. Set missing="leave_out".'
            )
        out = made.new_full((num_rows, *made.shape[1:]), fills.get(name, 0))
        out[rows] = made
        return out
    if isinstance(made, Mapping):
        return {key: _spread(made[key], rows, num_rows, fills, str(key)) for key in made}
    if hasattr(made, "_fields"):
        return type(made)(*(_spread(value, rows, num_rows, fills, key)
                            for key, value in zip(made._fields, made, strict=True)))  # fmt: skip
    if isinstance(made, (list, tuple)) and not any(isinstance(each, str) for each in made):
        return [_spread(each, rows, num_rows, fills) for each in made]
    spread: list[Any] = [None] * num_rows
    for row, each in zip(rows.tolist(), made, strict=True):
        spread[row] = each
    return spread
