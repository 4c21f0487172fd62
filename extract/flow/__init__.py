"""Long-term optical flow: the frames that are compared with the onset, the square that is compared, the flow, its colours."""
