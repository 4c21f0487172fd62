"""Pages and pictures made of caches and runs, without torch."""
