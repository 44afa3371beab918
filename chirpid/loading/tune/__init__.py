"""Chooses how batches are fetched: measured costs, a small model of them, and short trials."""

from chirpid.loading.tune.choose import Candidate, Limits, candidates, choose
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Measured, Prediction, Setting, Work, is_off, predict

__all__ = [
    "Candidate",
    "Costs",
    "Limits",
    "Measured",
    "Prediction",
    "Setting",
    "Work",
    "candidates",
    "choose",
    "is_off",
    "predict",
]
