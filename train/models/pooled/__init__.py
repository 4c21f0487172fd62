"""Statistics of the frames of a clip and a linear classifier: what can be known without their order."""
