"""What the user decides about a training run, as dataclasses and as text."""
