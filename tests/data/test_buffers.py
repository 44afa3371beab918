"""Buffers that are kept: no thread gets those of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from chirpid.data.buffers import ThreadBuffers


def test_a_buffer_is_the_same_memory_until_more_is_wanted() -> None:
    buffers = ThreadBuffers()
    first = buffers.take("rows", (4, 6))
    assert first.shape == (4, 6)
    assert buffers.take("rows", (3, 7)).data_ptr() == first.data_ptr()
    assert buffers.take("other", (4, 6)).data_ptr() != first.data_ptr()
    assert buffers.take("rows", (5, 6)).shape == (5, 6)
    halves = buffers.take("rows", (2, 2), torch.float16)
    assert halves.dtype == torch.float16


def test_threads_have_buffers_of_their_own() -> None:
    buffers = ThreadBuffers()
    own = buffers.take("rows", (8,))
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(buffers.take, "rows", (8,)).result()
        assert other.data_ptr() != own.data_ptr()


def test_a_buffer_made_in_inference_mode_may_be_written_to_outside_of_it() -> None:
    buffers = ThreadBuffers()
    with torch.inference_mode():
        buffers.take("rows", (8,))
    kept = buffers.take("rows", (8,))
    assert not kept.is_inference()
