"""A gated recurrent network over the frames of a clip: the baseline for models of time."""
