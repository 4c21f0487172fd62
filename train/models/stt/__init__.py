"""STT: a Transformer over the places of frames and over time, on maps of layer3; a reconstruction."""
