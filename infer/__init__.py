"""Using what was learnt: prediction on new videos, export, probes of a model."""
