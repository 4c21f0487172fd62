"""R3D-18, torchvision's ResNet of three-dimensional convolutions: a model of crops, trained end to end."""
