"""TensorRT engines, through its Python module or trtexec."""
