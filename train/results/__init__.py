"""Runs on the disk: their folder, scores, intervals, pages. No torch."""
