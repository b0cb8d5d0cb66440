"""A watch over several sources: events that begin and end, and those who are told of them."""

from r2p_edge.watch.events import Event
from r2p_edge.watch.rules import EventRule
from r2p_edge.watch.sources import NamedSource
from r2p_edge.watch.watching import Watch

__all__ = ["Event", "EventRule", "NamedSource", "Watch"]
