"""Caches on pages: their clips frame by frame, and what is in them."""
