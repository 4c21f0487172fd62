"""The Expression Snippet Transformer on frame features, its costs, and its authors' checkpoints."""
