"""Pages of runs: one run with all its results, or several, compared."""
