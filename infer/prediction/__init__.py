"""Prediction on new videos: the run's own extraction, windows over time, tables, pictures and annotated videos."""
