"""Expression Snippet Transformer on cached features: extract once, train in seconds per epoch."""

__version__ = "0.1.0.dev0"
