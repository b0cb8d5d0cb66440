"""The command line, `r2p-edge`: a module for each verb that parses, calls a function and shows it.

`build_parser` gives the parser to tools that document it.
"""

from r2p_edge.cli.entry import main
from r2p_edge.cli.parser import build_parser

__all__ = ["build_parser", "main"]
