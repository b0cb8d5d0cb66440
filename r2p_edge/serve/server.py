"""The server of a model: the addresses of KServe's protocol, and what they answer."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable

from r2p_edge._version import __version__
from r2p_edge.errors import R2PError
from r2p_edge.serve.model import ServedPredictor, status_of
from r2p_edge.serve.protocol import LENGTH_HEADER, answer_body, parse_request
from r2p_edge.serve.turns import NotWantedError, QueueFullError
from r2p_edge.web import HttpError, ListenAddress, Request, Route, WebServer
from r2p_edge.web.metrics import CONTENT_TYPE
from r2p_edge.web.request import JSON

MOST_BYTES = 64 << 20
"""Most bytes of a body, unless another number is given: a hundred clips of 16 frames of 112x112."""

_BINARY = "application/octet-stream"
_EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "parameters"]
_FEWEST_CONNECTIONS = 32
_BUSY = "so many requests wait that there is no place for one more; try again soon"


class ModelServer:
    """A server of one model, which answers within `with`.

    Args:
        model: the model.
        listen: address to listen on.
        token: token that everything but the health of the server needs; None for none.
        tls: TLS of `tls_context`; None for plain HTTP.
        queue: requests that may wait, for the number of connections.
        most_bytes: most bytes of the body of a request.
        announce: called with the server once the model is ready, before the first answer.

    Raises:
        UsageError: see `WebServer`.
    """

    def __init__(
        self,
        model: ServedPredictor,
        listen: ListenAddress,
        *,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        queue: int = 16,
        most_bytes: int = MOST_BYTES,
        announce: Callable[[ModelServer], None] = lambda _: None,
    ) -> None:
        self._model, self._most_bytes, self._announce = model, most_bytes, announce
        self._routes = self._all_routes()
        # A connection for each that waits, and some for those who look at metrics and health.
        limit = max(_FEWEST_CONNECTIONS, queue + _FEWEST_CONNECTIONS // 2)
        self._web = WebServer(
            listen, self._routes.get, token=token, tls=tls, limit=limit, describe=_described
        )
        model.numbers.metrics.before_reading(self._count_waiting)

    @property
    def url(self) -> str:
        """Address of the server, which ends in a slash."""
        return self._web.url

    @property
    def port(self) -> int:
        """Port that it listens on."""
        return self._web.port

    def __enter__(self) -> ModelServer:
        try:
            self._model.start()
            self._announce(self)
        except BaseException:
            self._web.stop()
            raise
        self._web.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._web.stop()
        self._model.close()

    def _all_routes(self) -> dict[str, Route]:
        model = self._model
        server = {"name": "r2p_edge", "version": __version__, "extensions": _EXTENSIONS}
        found = {
            "/v2": _json_route(lambda: server),
            "/v2/health/live": _json_route(lambda: {"live": True}, open=True),
            "/v2/health/ready": _json_route(lambda: {"ready": True}, open=True),
            "/metrics": Route(lambda request: request.reply(self._numbers(), CONTENT_TYPE)),
        }
        for path in (f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/1"):
            found[path] = _json_route(model.metadata)
            found[f"{path}/ready"] = _json_route(lambda: {"name": model.name, "ready": True})
            found[f"{path}/config"] = _json_route(model.config)
            found[f"{path}/infer"] = Route(self._infer, ("POST",))
        return {**found, "/v2/": found["/v2"]}

    def _numbers(self) -> str:
        return self._model.numbers.metrics.text()

    def _count_waiting(self) -> None:
        waiting = self._model.numbers.waiting
        waiting.set(len(self._model.turns), "model")
        waiting.set(len(self._model.decoding), "decoder")

    def _infer(self, request: Request) -> None:
        """Answer a request for an inference, and count it."""
        requests = self._model.numbers.requests
        try:
            body, length = self._answer(request)
        except HttpError as error:
            requests.add(1, str(error.status))
            raise
        except ConnectionError:
            requests.add(1, "gone")
            raise
        except Exception:  # a fault of the program, which the server below tells
            requests.add(1, "500")
            raise
        requests.add(1, "200")
        headers = {} if length is None else {LENGTH_HEADER: str(length)}
        request.reply(body, JSON if length is None else _BINARY, headers=headers)

    def _answer(self, request: Request) -> tuple[bytes, int | None]:
        """Return the body of the answer, and the length of its JSON where tensors follow it."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise HttpError(415, "the body is compressed, which is not offered; send it as it is")
        try:
            self._model.turns.check()  # before a body is read for nothing
            asked = parse_request(
                request.body(self._most_bytes),
                request.headers.get(LENGTH_HEADER),
                self._model.longest_json,
            )
            head, outputs = self._model.answer(asked, request.gone)
        except QueueFullError as error:
            raise HttpError(503, _BUSY, Retry_After="1") from error
        except NotWantedError as error:
            raise ConnectionAbortedError("the client has left") from error
        except R2PError as error:
            raise HttpError(status_of(error), str(error)) from error
        return answer_body(head, outputs)


def _json_route(content: Callable[[], object], *, open: bool = False) -> Route:
    return Route(lambda request: request.reply_json(content()), open=open)


def _described(status: int, message: str) -> tuple[str, bytes]:
    """Return Content-Type and body of an error, as the protocol has them."""
    return JSON, json.dumps({"error": message}).encode()
