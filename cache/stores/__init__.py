"""How a cache lies on disk: its two stores, the attributes, the committed state; files are replaced whole, one writer holds the lock."""
