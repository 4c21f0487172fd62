"""Where trainings start: from weights of an encoder, of its last stage, of a model of crops, or from the models of another run."""
