"""Streams of random numbers of the samplers, beside those of `data.order` and `data.mix`."""

DRAWS, KEYS, MEMBERS, BATCHES = 11, 12, 13, 14
