"""The space that a sweep searches: from a TOML file, or built in for each model."""
