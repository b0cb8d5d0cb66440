"""A user's own classes: new heads for the networks of artifacts."""

from r2p_edge.teaching.from_videos import teach
from r2p_edge.teaching.report import Taught

__all__ = ["Taught", "teach"]
