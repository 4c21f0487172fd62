"""Trainings of models of one shape, computed as one model with an axis more."""
