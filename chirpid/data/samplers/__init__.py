"""Which items make which batch: samplers for any set, as pure functions of seed and epoch."""

from chirpid.data.samplers.balanced import ClassBalancedSampler, MPerClassSampler
from chirpid.data.samplers.base import IdSampler, Sampler, repeats_of
from chirpid.data.samplers.buckets import BucketSampler, padding_share
from chirpid.data.samplers.budget import BudgetSampler
from chirpid.data.samplers.distributed import DistributedSampler
from chirpid.data.samplers.plain import SequentialSampler, ShuffledSampler
from chirpid.data.samplers.resume import ResumableBatches
from chirpid.data.samplers.weighted import WeightedSampler

__all__ = [
    "BucketSampler",
    "BudgetSampler",
    "ClassBalancedSampler",
    "DistributedSampler",
    "IdSampler",
    "MPerClassSampler",
    "ResumableBatches",
    "Sampler",
    "SequentialSampler",
    "ShuffledSampler",
    "WeightedSampler",
    "padding_share",
    "repeats_of",
]
