"""Segments of a video: what happens when, as a timeline, as files, and written into a film."""

from r2p_edge.segments.files import write_timelines
from r2p_edge.segments.film import annotate
from r2p_edge.segments.timelines import Segment, Timeline, timeline

__all__ = ["Segment", "Timeline", "annotate", "timeline", "write_timelines"]
