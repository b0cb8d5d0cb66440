"""Contact sheets: the frames that a model sees of a video, and where it sees its answer."""

from r2p_edge.sheet.files import write_sheet
from r2p_edge.sheet.look import ClassActivation, SeenVideo, Tile, look_at

__all__ = ["ClassActivation", "SeenVideo", "Tile", "look_at", "write_sheet"]
