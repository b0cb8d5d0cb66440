"""TensorRT: engines on NVIDIA GPUs, built and run through its Python module."""
