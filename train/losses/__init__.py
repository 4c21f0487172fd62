"""Losses that every model can be trained with, as functions of logits or embeddings; sums over clips, which the loop divides."""
