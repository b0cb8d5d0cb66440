"""From a frame to the model's pixels, and from a clip of pixels to its input tensor."""

from r2p_edge.preprocess.preprocessor import Preprocessor

__all__ = ["Preprocessor"]
