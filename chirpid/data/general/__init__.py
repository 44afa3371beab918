"""Any dataset: samples of any structure, and batches of them as columns."""
