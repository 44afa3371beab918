"""What each process of a parallel training gets of the data."""

from __future__ import annotations

from typing import Any

from chirpid.data.general.hugging_face import is_streaming, of_rank
from chirpid.data.samplers import DistributedSampler, Sampler
from chirpid.data.samplers.distributed import all_ranks, this_rank
from chirpid.loading.factory import Say


def share_of_rank(sampler: Sampler, *, trains: bool, say: Say) -> Sampler:
    """Return the batches of this rank: as many at each, since all wait for the slowest.

    To train by, the first samples come again where there are not enough. To validate by, each
    comes once, if that makes as many batches at each rank; else some come again, which is said.
    """
    num_ranks = all_ranks()
    if num_ranks == 1 or trains:
        return sampler if num_ranks == 1 else DistributedSampler(sampler)
    shares = [DistributedSampler(sampler, r, num_ranks, "keep") for r in range(num_ranks)]
    if len({share.num_batches(0) for share in shares}) == 1:
        return shares[this_rank()]
    say(
        f"What is validated makes no equal batches for {num_ranks} ranks, so some samples come "
        "twice. Another batch_size may avoid it."
    )
    return DistributedSampler(sampler)


def stream_of_rank(stream: Any, say: Say) -> Any:
    """Return the part of a stream that this rank reads: of Hugging Face's; others are whole."""
    if is_streaming(stream):
        return of_rank(stream, this_rank(), all_ranks())
    say(
        f"Each of {all_ranks()} ranks reads the whole {type(stream).__name__}, unless it splits "
        "itself by rank."
    )
    return stream
