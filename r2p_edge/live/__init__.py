"""Live video: sources, the newest clip of each, and the predictions on it."""

from r2p_edge.live.predictions import PredictionStream
from r2p_edge.live.stream import Stream

__all__ = ["PredictionStream", "Stream"]
