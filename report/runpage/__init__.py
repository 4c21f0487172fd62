"""Pages of runs: one run with everything that is known of it, or several beside one another."""
