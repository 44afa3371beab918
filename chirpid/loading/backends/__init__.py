"""Who fetches batches: the caller, threads, processes, or the device."""
