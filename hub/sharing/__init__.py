"""Giving caches, exported models and weights to a hub, and taking caches from one."""
