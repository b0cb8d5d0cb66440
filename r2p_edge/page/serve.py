"""A server of the live page, beside the loop that feeds its board."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator

from r2p_edge.page.board import Board
from r2p_edge.page.routes import page_routes
from r2p_edge.web.listen import ListenAddress, parse_listen
from r2p_edge.web.server import WebServer

_VIEWERS = 32  # connections; a browser opens at most six


@contextlib.contextmanager
def serve_page(
    board: Board,
    listen: str | ListenAddress = "127.0.0.1:8080",
    token: str | None = None,
    tls: ssl.SSLContext | None = None,
) -> Iterator[WebServer]:
    """Serve the page of a board, in threads of its own, while the `with` block runs.

    Args:
        board: the board, which the block feeds.
        listen: "HOST:PORT".
        token: see `read_token`; beyond this machine nothing is served without one.
        tls: see `tls_context`.

    Yields:
        The server, whose `url` is that of the page.

    Raises:
        UsageError: the address is wrong, in use, or open to others without a token.
    """
    where = parse_listen(listen) if isinstance(listen, str) else listen
    with WebServer(where, page_routes(board).get, token=token, tls=tls, limit=_VIEWERS) as server:
        board.counts.connections = lambda: server.open_connections
        yield server
