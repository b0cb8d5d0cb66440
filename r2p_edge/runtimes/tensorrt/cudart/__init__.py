"""CUDA's runtime library, through ctypes: memory, streams and graphs for the TensorRT runtime."""

from r2p_edge.runtimes.tensorrt.cudart.api import Chip, Cudart
from r2p_edge.runtimes.tensorrt.cudart.binding import LIBRARY, CudaError
from r2p_edge.runtimes.tensorrt.cudart.search import load

__all__ = ["LIBRARY", "Chip", "CudaError", "Cudart", "load"]
