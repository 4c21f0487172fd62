"""Stage two: a cache → a trained Expression Snippet Transformer."""
