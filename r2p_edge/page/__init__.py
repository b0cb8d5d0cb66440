"""The live page: what each camera shows and what the model says of it, in a browser."""

from r2p_edge.page.board import Board
from r2p_edge.page.serve import serve_page

__all__ = ["Board", "serve_page"]
