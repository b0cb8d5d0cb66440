"""PyTorch modules on their way to ONNX: made, prepared, run and exported in a child process."""
