"""Live video: the sources, the newest clip of each, and the answers on it."""

from r2p_edge.live.stream import Stream

__all__ = ["Stream"]
