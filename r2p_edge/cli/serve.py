"""`r2p-edge serve`: answer clips and video files over HTTP, in the KServe v2 protocol."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError
from r2p_edge.predictor import Predictor
from r2p_edge.serve.model import ServedPredictor
from r2p_edge.serve.server import MOST_BYTES, ModelServer
from r2p_edge.web import parse_listen, read_token, tls_context
from r2p_edge.web.access import AUTO

_MIB = 1 << 20
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
    group = verb.add_argument_group("server")
    group.add_argument(
        "--listen",
        default="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="address to listen on (default: 127.0.0.1:8000)",
    )
    group.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"file whose first line is the token that requests need; '{AUTO}' makes one and "
        "prints it (default: none, which is allowed on this machine's own addresses alone)",
    )
    group.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="PEM file of a certificate, for HTTPS"
    )
    group.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="PEM file of the certificate's private key"
    )
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
        default=MOST_BYTES // _MIB,
        metavar="MIB",
        help=f"refuse requests of more than so many MiB (default: {MOST_BYTES // _MIB})",
    )
    group.add_argument(
        "--name",
        metavar="NAME",
        help="name of the model in addresses (default: that of the model's contract)",
    )
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Serve until the process is stopped; return 0."""
    shared.check_counts(options, ["queue", "max_body"])
    if options.name is not None and "/" in options.name:
        raise UsageError(f"the name {options.name!r} has a slash, which ends a part of an address")
    listen, token = parse_listen(options.listen), read_token(options.token_file)
    tls = tls_context(options.tls_cert, options.tls_key)
    with (
        _until_terminated() as ended,
        Predictor(options.model, **shared.predictor_options(options)) as predictor,
    ):
        model = ServedPredictor(predictor, name=options.name, queue=options.queue)
        server = ModelServer(
            model,
            listen,
            token=token,
            tls=tls,
            queue=options.queue,
            most_bytes=options.max_body * _MIB,
        )
        with server:
            made = token if options.token_file == AUTO else None
            if options.json:
                print_json({"url": server.url, "model": model.name, "token": made})
            else:
                show(server, model, made)
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
