"""MSSTNet: a temporal Transformer that takes in one scale of the encoder after another; a reconstruction."""
