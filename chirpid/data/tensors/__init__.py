"""Samples of one shape kept in RAM or on the disk, in any mode."""
