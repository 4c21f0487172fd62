"""Decoding: videos and folders of frames as upright frames with their times."""
