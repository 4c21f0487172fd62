"""The cache: the contract between extraction and training. Knows numpy and its two stores, no torch."""
