"""Kept rows by their ids into a float32 batch: natively, or with numpy and torch, the same bits."""

from __future__ import annotations

import threading

import numpy as np
import torch
from torch import Tensor

from chirpid import native
from chirpid.data.buffers import ThreadBuffers
from chirpid.data.kept import RowSpec
from chirpid.native.gather import RowGather, check_within
from chirpid.types import IntArray


class Gather:
    """Rows of one tensor, by their ids. May be used by many threads at once."""

    def __init__(self, spec: RowSpec, rows: Tensor) -> None:
        """Prepare for `rows` [N, *spec.shape], in RAM or on a memory map, of the type of `spec`."""
        self.spec, self.rows = spec, rows
        self._native, self._address = _native_rows(spec, rows), rows.data_ptr()
        self._buffers = ThreadBuffers()

    def into(
        self,
        ids: IntArray,
        out: Tensor,
        *,
        places: IntArray | None = None,
        num_threads: int | None = None,
    ) -> None:
        """Write row `ids[i]` into row `places[i]` of `out`, or into its row i.

        Args:
            ids: int64 [B], contiguous and writeable; may repeat.
            out: float32 [at least B, *spec.shape].
            places: int64 [B], contiguous and writeable.
            num_threads: of the native library; by default those of torch in the main thread, and
                one in others, which are at work beside each other.

        Raises:
            IndexError: an id is not that of a row, or a place not one of `out`.
        """
        if self._native is None or not _is_plain(out):
            return self._with_torch(ids, out, places)
        if self.rows.data_ptr() != self._address:
            # Who sends the rows to a worker process moves them to shared memory, for all.
            self._native, self._address = _native_rows(self.spec, self.rows), self.rows.data_ptr()
            return self.into(ids, out, places=places, num_threads=num_threads)
        if num_threads is None:
            num_threads = _num_threads()
        self._native.into(ids, out.data_ptr(), len(out), places=places, num_threads=num_threads)

    def _with_torch(self, ids: IntArray, out: Tensor, places: IntArray | None) -> None:
        check_within(ids, len(self.rows), "id", "segments")
        if places is None:
            out = out[: len(ids)]
            if self.rows.dtype == torch.float32 and _is_plain(out):
                # Faster than torch for small rows; without "clip" it would go through a copy.
                np.take(self.rows.numpy(), ids, axis=0, out=out.numpy(), mode="clip")
                return
        else:
            check_within(places, len(out), "place", "places")
        kept = self._buffers.take("kept", (len(ids), *self.spec.shape), self.rows.dtype)
        torch.index_select(self.rows, 0, torch.from_numpy(ids), out=kept)
        if places is None:
            self.spec.widen(kept, out)
        else:
            out[torch.from_numpy(places)] = self.spec.widen(kept, torch.empty(kept.shape))


def _native_rows(spec: RowSpec, rows: Tensor) -> RowGather | None:
    if native.handle() is None or not rows.is_contiguous() or rows.dtype != spec.torch_dtype:
        return None
    return RowGather(
        rows.data_ptr(),
        num_rows=len(rows),
        row_numbers=rows[0].numel() if len(rows) else 0,
        kind=spec.dtype.value,
        scale=spec.scale,
        offset=spec.offset,
    )


def _num_threads() -> int:
    if threading.current_thread() is threading.main_thread():
        return torch.get_num_threads()
    return 1


def _is_plain(out: Tensor) -> bool:
    return out.is_cpu and out.dtype == torch.float32 and out.is_contiguous()
