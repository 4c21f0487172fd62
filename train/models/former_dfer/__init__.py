"""Former-DFER: a Transformer over the places of each frame inside ResNet-18, and one over the frames."""
