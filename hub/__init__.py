"""A hub of models and data sets: names, the few calls that est makes, and files at a pinned revision."""
