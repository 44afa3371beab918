"""Side-by-side benchmarks: the same work, in one run, against a named baseline and the limit."""
