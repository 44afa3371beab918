"""A tokenizer that needs no training: one id for each character."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chirpid.errors import DataError
from chirpid.storage.atomic import write_text
from chirpid.types import IntArray

PAD, UNKNOWN, NUM_SPECIAL = 0, 1, 2
_KIND = "chirpid characters 1"


class CharacterTokenizer:
    """Ids of characters: 0 pads, 1 is any character that was not seen, 2 the first that was.

    Characters are numbered in the order of their code points, so that the same texts give the same
    ids in any order. Nothing is normalised: é as one character is not é as two.
    """

    pad_token_id = PAD

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = "".join(sorted(set(characters)))
        self._codes = _codes_of(self.characters)

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> CharacterTokenizer:
        """Return one that knows every character of these texts."""
        known: set[str] = set()
        for text in texts:
            known.update(text)
        return cls(known)

    def __len__(self) -> int:
        return NUM_SPECIAL + len(self.characters)

    def encode(self, text: str) -> IntArray:
        """Return the id of each character, int64 [T]."""
        codes = _codes_of(text)
        if not len(self._codes):
            return np.full(len(codes), UNKNOWN, dtype=np.int64)
        at = np.searchsorted(self._codes, codes)
        at[at == len(self._codes)] = 0
        return np.where(self._codes[at] == codes, at + NUM_SPECIAL, UNKNOWN).astype(np.int64)

    def encode_batch(self, texts: Sequence[str]) -> list[IntArray]:
        """Return the ids of each text."""
        return [self.encode(text) for text in texts]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; padding is left out, and what was not known is U+FFFD."""
        return "".join(
            "\N{REPLACEMENT CHARACTER}" if number == UNKNOWN else self.characters[number - 2]
            for number in map(int, ids)
            if number != PAD
        )

    def to_str(self) -> str:
        """Return all that makes it up, as JSON."""
        return json.dumps({"kind": _KIND, "characters": self.characters})

    def save(self, path: str | Path) -> None:
        """Write it to a JSON file, so that a model that is served sees the ids it was trained on.

        Raises:
            StorageError: the file cannot be written.
        """
        write_text(Path(path), self.to_str() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> CharacterTokenizer:
        """Return the one that was saved.

        Raises:
            DataError: the file cannot be read, or is another.
        """
        try:
            known: Any = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
        except ValueError as error:
            raise DataError(f"{path} is no JSON: {error}. Save the tokenizer again.") from error
        if not isinstance(known, dict) or known.get("kind") != _KIND:
            raise DataError(f"{path} holds no characters of a tokenizer. Save the tokenizer again.")
        return cls(known["characters"])


def _codes_of(text: str) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
