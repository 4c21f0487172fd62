"""Probes of a run's models: whether they use time, and the right time."""
