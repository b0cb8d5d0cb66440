"""`r2p-edge serve`: answer clips and video files over HTTP, in the KServe v2 protocol."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.server_options import add_server_options, server_options
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.predictor import Predictor

if TYPE_CHECKING:
    from r2p_edge.serve.model import ServedPredictor
    from r2p_edge.serve.server import ModelServer

_LISTEN = "127.0.0.1:8000"
_MIB = 1 << 20
_MAX_BODY = 64  # MiB
_LOOK_SECONDS = 3600.0


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "serve",
        run,
        "Answer clips and video files over HTTP, in the KServe v2 protocol.",
        "serve r2p-edge-demo/motion-fp32.onnx",
        "serve model.onnx --listen 0.0.0.0:8000 --token-file token.txt --queue 8",
    )
    shared.add_model(verb)
    group = add_server_options(verb, f"address to listen on (default is {_LISTEN})")
    group.add_argument(
        "--queue",
        type=int,
        default=16,
        metavar="N",
        help="let N requests wait for the model, and answer 503 to more (default: 16)",
    )
    group.add_argument(
        "--max-body",
        type=int,
        default=_MAX_BODY,
        metavar="MIB",
        help=f"refuse requests of more than so many MiB (default: {_MAX_BODY})",
    )
    group.add_argument(
        "--name",
        metavar="NAME",
        help="name of the model in addresses (default: that of the model's contract)",
    )
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Serve until the process is stopped; return 0."""
    # Here, since no other verb needs sockets and TLS.
    from r2p_edge.serve.model import ServedPredictor
    from r2p_edge.serve.server import ModelServer

    shared.check_counts(options, ["queue", "max_body"])
    how = server_options(options, _LISTEN)
    with (
        _until_terminated() as ended,
        Predictor(options.model, **shared.predictor_options(options)) as predictor,
    ):
        model = ServedPredictor(predictor, name=options.name, queue=options.queue)

        def announce(server: ModelServer) -> None:
            made = how.token if how.made else None
            if options.json:
                print_json({"url": server.url, "model": model.name, "token": made})
            else:
                show(server, model, made)

        with ModelServer(
            model,
            how.listen,
            token=how.token,
            tls=how.tls,
            queue=options.queue,
            most_bytes=options.max_body * _MIB,
            announce=announce,
        ):
            while not ended.wait(_LOOK_SECONDS):
                pass
    return 0


@contextmanager
def _until_terminated() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM sets, with which service managers and containers end a server."""
    ended = threading.Event()
    former = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        yield ended
    finally:
        signal.signal(signal.SIGTERM, former)


def show(server: ModelServer, model: ServedPredictor, token: str | None) -> None:
    """Print where the model is, and the token if it was made just now."""
    print(f"{server.url}v2/models/{model.name}", flush=True)
    if token is not None:
        print(f"token: {token}", flush=True)
