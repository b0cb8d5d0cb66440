"""The command line, `r2p-edge`."""

from r2p_edge.cli.entry import main

__all__ = ["main"]
