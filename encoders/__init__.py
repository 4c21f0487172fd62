"""Frame encoders: crops in, features out; their weights, and the device and precision that they run in."""
