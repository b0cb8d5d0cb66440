"""The addresses of the live page, and their answers."""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Callable, Iterator
from typing import Any

from r2p_edge.errors import count_of
from r2p_edge.page.board import Board
from r2p_edge.page.events import NumberedEvent
from r2p_edge.web.metrics import CONTENT_TYPE
from r2p_edge.web.request import HTML, JSON, HttpError, Request, Route

HEADER = "X-R2P"
"""Header of an answer with a picture: JSON about it, in ASCII."""

_POLL_SECONDS = (
    2.0  # of a long poll; while cameras are lost, a browser has no other connection free
)
_SLICE_SECONDS = 0.5  # in which a viewer that has left is noticed
_FRESH_SECONDS = 1.0  # that /frame.jpg waits for a frame newer than the one that is kept
_SILENCE_SECONDS = 15.0  # of a stream of events, after which a proxy may take it for dead
_STALE_SECONDS = 10.0  # without a frame, after which the program is not healthy

_JPEG = "image/jpeg"
_BOUNDARY = "r2p-edge-frame"
_FILES = {
    "/": ("page.html", HTML),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def page_routes(board: Board) -> dict[str, Route]:
    """Return the routes of the live page of a board, by their paths."""
    answers: dict[str, Callable[[Board, Request], None]] = {
        "/next": _next,
        "/frame.jpg": _frame,
        "/stream.mjpg": _stream,
        "/events": _events,
        "/answers": _answers,
        "/metrics": _metrics,
    }
    routes = {path: Route(functools.partial(answer, board)) for path, answer in answers.items()}
    # Open, since what asks for it has no token; it tells numbers alone.
    routes["/healthz"] = Route(functools.partial(_health, board), open=True)
    for path, (name, kind) in _FILES.items():
        routes[path] = Route(functools.partial(_file, name, kind))
    return routes


def _file(name: str, kind: str, request: Request) -> None:
    request.reply(_asset(name), kind)


@functools.cache
def _asset(name: str) -> bytes:
    return importlib.resources.files("r2p_edge.page").joinpath(f"assets/{name}").read_bytes()


def _next(board: Board, request: Request) -> None:
    """Answer with what is new since a number, as soon as there is anything, or with status 204."""
    name, after = _source(board, request, optional=True), _number(request, "after")
    if after > board.newest:  # of another run of the program
        after = 0
    for _ in _slices(request, _POLL_SECONDS):
        if board.wait(name, after, _SLICE_SECONDS):
            break
    told, pictures = board.read(name, after)
    if name is not None:
        headers = {HEADER: json.dumps(told)}
        status = 200 if pictures else 204
        request.reply(b"".join(pictures), _JPEG, status=status, headers=headers)
        return
    # Of many sources it is too long for a header.
    state = json.dumps(told).encode()
    headers = {HEADER: json.dumps({"n": told["n"], "bytes": len(state)})}
    request.reply(b"".join([state, *pictures]), "application/octet-stream", headers=headers)


def _frame(board: Board, request: Request) -> None:
    name = _source(board, request)
    jpeg = board.latest(name, _FRESH_SECONDS)
    if jpeg is None:
        raise HttpError(404, "this source has shown no picture yet", Retry_After="1")
    request.reply(jpeg, _JPEG, headers={HEADER: json.dumps(board.read(name, board.newest)[0])})


def _stream(board: Board, request: Request) -> None:
    """Send each new picture in place of the one before, as MJPEG."""
    name = _source(board, request)
    if not request.begin_stream(f"multipart/x-mixed-replace; boundary={_BOUNDARY}"):
        return
    request.send(f"--{_BOUNDARY}\r\n".encode())
    seen = 0
    while not request.gone():
        if not board.wait(name, seen, _SLICE_SECONDS, picture=True):
            continue
        told, pictures = board.read(name, seen)
        seen = told["n"]
        for picture in pictures:
            head = f"Content-Type: {_JPEG}\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
            # The next boundary at once: browsers show a picture when they have seen its end.
            request.send(head + picture + f"\r\n--{_BOUNDARY}\r\n".encode())


def _events(board: Board, request: Request) -> None:
    """Send events as they come, or those since a number as JSON to who accepts that alone."""
    known = request.headers.get("Last-Event-ID", request.query.get("after"))
    number = board.events.newest if known is None else board.events.number(known)
    if request.headers.get("Accept") == JSON:
        rows = [{"n": each.number, **json.loads(each.data)} for each in board.events.since(number)]
        request.reply_json({"run": board.events.run, "events": rows})
        return
    # The header is for nginx, which would keep the events back.
    if not request.begin_stream("text/event-stream", {"X-Accel-Buffering": "no"}):
        return
    request.send(b": events follow\n\n")
    silent = 0.0
    while not request.gone():
        fresh = board.events.wait(number, _SLICE_SECONDS)
        silent = 0.0 if fresh else silent + _SLICE_SECONDS
        if fresh:
            request.send("".join(_told(board, number, fresh)).encode())
            number = fresh[-1].number
        elif silent >= _SILENCE_SECONDS:
            request.send(b": still here\n\n")
            silent = 0.0


def _told(board: Board, known: int, events: list[NumberedEvent]) -> Iterator[str]:
    """Yield events in the format of server-sent events."""
    if lost := events[0].number - known - 1:
        yield f": {lost} older events are no longer kept\n\n"
    for event in events:
        yield f"id: {board.events.name(event.number)}\ndata: {event.data}\n\n"


def _answers(board: Board, request: Request) -> None:
    name, after = _source(board, request, optional=True), _number(request, "after")
    told, _ = board.read(name, board.newest)
    for row in told["sources"]:
        del row["bytes"]
        row["answers"] = board.answers(row["name"], after)
    request.reply_json(told)


def _metrics(board: Board, request: Request) -> None:
    request.reply(board.counts.metrics.text(), CONTENT_TYPE)


def _health(board: Board, request: Request) -> None:
    count, stale = len(board.names()), board.stale(_STALE_SECONDS)
    if stale or not count:
        late = f"{stale} of {count_of(count, 'source')} without frames\n"
        request.reply(late, status=503)
        return
    request.reply("ok\n")


def _slices(request: Request, seconds: float) -> Iterator[None]:
    """Yield as often as slices of a time fit in, while the viewer is there."""
    for _ in range(round(seconds / _SLICE_SECONDS)):
        if request.gone():
            raise ConnectionAbortedError("the viewer has left")
        yield


def _source(board: Board, request: Request, *, optional: bool = False) -> Any:
    """Return the source of a request; None, if that is allowed, for all.

    Raises:
        HttpError: there is no such source, or several and none is named.
    """
    names, name = board.names(), request.query.get("source") or None
    if name is None and not optional and len(names) == 1:
        return names[0]
    if name in names or (name is None and optional):
        return name
    if not names:
        raise HttpError(404, "there is no source yet", Retry_After="1")
    choice = ", ".join(names)
    raise HttpError(404, f"give a source of these, as ?source=NAME: {choice}")


def _number(request: Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 18):
        raise HttpError(400, f"{name} is no number")
    return int(text)
