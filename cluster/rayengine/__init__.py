"""Extraction on Ray: actors that decode and encode, and one that writes the cache."""
