"""Options of verbs that answer over HTTP: the address, the token and the certificate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from r2p_edge.cli.verb import VerbParser

if TYPE_CHECKING:
    import ssl

    from r2p_edge.web import ListenAddress


class ServerOptions(NamedTuple):
    """Options of a server.

    Attributes:
        listen: address to listen on.
        token: token that requests need; None for none.
        made: True if the token was made just now, and nobody knows it yet.
        tls: TLS; None for plain HTTP.
    """

    listen: ListenAddress
    token: str | None
    made: bool
    tls: ssl.SSLContext | None


def add_server_options(verb: VerbParser, listen: str) -> argparse._ArgumentGroup:
    """Add the options of a server, in a group; return it.

    Args:
        verb: the parser.
        listen: phrase about `--listen` for the help.
    """
    group = verb.add_argument_group("server")
    group.add_argument("--listen", metavar="HOST:PORT", help=listen)
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help="file whose first line is the token that requests need; 'auto' makes one and "
        "prints it (default: none, which is allowed on this machine's own addresses alone)",
    )
    group.add_argument(
        "--tls-cert",
        type=Path,
        metavar="FILE",
        help="certificate for HTTPS, a PEM file (default: plain HTTP)",
    )
    group.add_argument(
        "--tls-key",
        type=Path,
        metavar="FILE",
        help="private key of the certificate, a PEM file (default: in the file of the certificate)",
    )
    return group


def server_options(options: argparse.Namespace, default: str) -> ServerOptions:
    """Return the options of `add_server_options`.

    Args:
        options: the parsed options.
        default: address to listen on where none is given.

    Raises:
        UsageError: the address is none, or a file cannot be used.
    """
    # Here, since no other verb needs sockets and TLS.
    from r2p_edge.web import parse_listen, read_token, tls_context
    from r2p_edge.web.access import AUTO

    return ServerOptions(
        listen=parse_listen(default if options.listen is None else options.listen),
        token=read_token(options.token_file),
        made=options.token_file == AUTO,
        tls=tls_context(options.tls_cert, options.tls_key),
    )
