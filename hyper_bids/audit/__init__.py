"""Is this result what it seems? Leakage, baselines, collapse: from arrays and labels alone."""
