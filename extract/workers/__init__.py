"""Processes that decode and threads that compute, and the pipeline between them."""
