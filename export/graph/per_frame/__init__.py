"""Graphs with state from a clip's graph: an answer at each tick for the cost of one frame."""
