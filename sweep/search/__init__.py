"""Hyperparameter search on a cache: the space that is searched, from a TOML file or built in."""
