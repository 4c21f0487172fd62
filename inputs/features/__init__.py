"""Features of other software: arrays and tables become a cache."""
