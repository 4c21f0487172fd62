"""From frames to one face a frame: detection, linking, tracks."""
