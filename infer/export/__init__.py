"""A run's model as one file that runs without est: ONNX or TorchScript, checked against the run, with a card beside it."""
