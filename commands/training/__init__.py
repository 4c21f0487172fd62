"""The commands that train: one run, its control, many runs."""
