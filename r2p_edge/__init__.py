"""Edge deployment of R(2+1)D video action recognition: one `Predictor` over every runtime."""

from r2p_edge._version import __version__
from r2p_edge.errors import R2PError
from r2p_edge.live.predictions import PredictionStream
from r2p_edge.live.stream import Stream
from r2p_edge.prediction import Prediction
from r2p_edge.predictor import Predictor
from r2p_edge.spec import ClipSpec, CropSpec, InputSpec, ModelSpec, OutputSpec, ResizeSpec

__all__ = [
    "ClipSpec",
    "CropSpec",
    "InputSpec",
    "ModelSpec",
    "OutputSpec",
    "Prediction",
    "PredictionStream",
    "Predictor",
    "R2PError",
    "ResizeSpec",
    "Stream",
    "__version__",
]
