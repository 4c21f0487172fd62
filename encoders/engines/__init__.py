"""What computes a frame encoder: torch, or onnxruntime on the processor, in fp32 or in int8; each turns crops into the rows of taps."""
