"""Adding to a cache: clips by clips, features by features, in commits."""
