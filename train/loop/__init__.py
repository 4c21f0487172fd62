"""Training: steps, epochs, checkpoints, several processes."""
