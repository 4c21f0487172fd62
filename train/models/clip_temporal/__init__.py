"""A small temporal Transformer over image features, and classes that are vectors: free ones, or those of a frozen text encoder."""
