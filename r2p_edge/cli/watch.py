"""`r2p-edge watch`: tell others of events that several cameras see."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import StdoutError, json_line
from r2p_edge.cli.server_options import ServerOptions, add_server_options, server_options
from r2p_edge.cli.stream_options import (
    add_answer_options,
    add_source_options,
    ended_by_sigterm,
    stream_options,
)
from r2p_edge.cli.verb import VerbParser, Verbs, add_verb
from r2p_edge.errors import UsageError
from r2p_edge.live.credentials import MQTT_VARIABLE, WEBHOOK_VARIABLE, Credentials, read_credentials
from r2p_edge.predictor import Predictor
from r2p_edge.watch.delivery import Sink, SinkQueue
from r2p_edge.watch.rules import HYSTERESIS, EventRule, parse_rule

if TYPE_CHECKING:
    from r2p_edge.page import Board

_LISTEN = "127.0.0.1:8080"
_ENDED_BY = {
    "score": "because the score fell",
    "gap": "because the frames broke off",
    "lost": "because the source is lost",
    "ended": "because the source ended",
    "stopped": "because the watch was stopped",
}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "watch",
        run,
        "Watch several live sources, and tell of events that begin and end.",
        "watch model.onnx door=rtsp://camera/1 yard=0 --event 'fall>0.8' --json",
        "watch model.onnx --config doors.toml --webhook https://host/hook --pictures events",
        "watch model.onnx door=0 --listen 0.0.0.0:8080 --token-file auto",
    )
    shared.add_model(verb)
    verb.add_argument(
        "sources",
        nargs="*",
        metavar="NAME=SOURCE",
        help="name of your choice and what r2p-edge stream takes: number of a camera, network "
        "address, GStreamer pipeline, video file, or folder of images",
    )
    verb.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="file of TOML with sources, their options and events; or YAML, with PyYAML",
    )
    _add_event_options(verb)
    _add_sink_options(verb)
    add_server_options(verb, f"show a page at this address, such as {_LISTEN} (default: no page)")
    add_answer_options(verb)
    add_source_options(verb, reconnect=math.inf)
    shared.add_predictor_options(verb)


def _add_event_options(verb: VerbParser) -> None:
    group = verb.add_argument_group("events")
    group.add_argument(
        "--event",
        action="append",
        default=[],
        dest="events",
        metavar="RULE",
        help="label and the score above which an event begins, such as 'fall>0.8' or, with a name, "
        "'alarm=fall>0.8'; may be given again",
    )
    group.add_argument(
        "--min-length",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="the label must be seen without a break for SECONDS before it is an event (default: "
        "0)",
    )
    group.add_argument(
        "--cool-down",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="seconds after an event in which no other of its rule begins (default: 0)",
    )
    group.add_argument(
        "--event-hysteresis",
        type=float,
        default=HYSTERESIS,
        metavar="LEAD",
        help="end an event only where the score is lower than its threshold by LEAD (default: "
        f"{HYSTERESIS:g})",
    )


class _Once(argparse.Action):
    """Stores a value, and refuses a second one: it would take the place of a receiver."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Store a value; see `argparse.Action`."""
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "there can be one only; leave out the other")
        setattr(namespace, self.dest, values)


def _add_sink_options(verb: VerbParser) -> None:
    group = verb.add_argument_group("who is told")
    group.add_argument(
        "--answers", action="store_true", help="print every answer, and not the events alone"
    )
    group.add_argument(
        "--events-file",
        action=_Once,
        type=Path,
        metavar="FILE",
        help="append the events to FILE as JSON lines",
    )
    group.add_argument(
        "--webhook",
        action=_Once,
        metavar="URL",
        help="post the events to URL as JSON; signed with the secret of --credentials or "
        f"{WEBHOOK_VARIABLE}",
    )
    group.add_argument(
        "--mqtt",
        action=_Once,
        metavar="URL",
        help="publish the events to the broker mqtt://HOST:PORT/BASE, or mqtts:// for TLS, "
        "where Home Assistant finds them; user and password are those of --credentials or "
        f"{MQTT_VARIABLE}",
    )
    group.add_argument(
        "--exec",
        action=_Once,
        dest="program",
        metavar="COMMAND",
        help="run COMMAND, in quotes and without a shell, for each event, which it reads as JSON",
    )
    group.add_argument(
        "--pictures", type=Path, metavar="DIR", help="write a JPEG picture of each event into DIR"
    )
    group.add_argument(
        "--films",
        action="store_true",
        help="write a film of each event into the folder of --pictures too",
    )


def run(options: argparse.Namespace) -> int:
    """Watch until all sources end or the process is stopped; return 0."""
    from r2p_edge.watch.sources import by_name, parse_source, read_watch_file
    from r2p_edge.watch.watching import Watch

    shared.check_counts(options, ["top"])
    if options.films and options.pictures is None:
        raise UsageError("--films needs a folder; add --pictures DIR")
    page = _page_options(options)
    sources = [parse_source(each) for each in options.sources]
    rules: list[EventRule] = []
    if options.config is not None:
        more, rules = read_watch_file(options.config)
        sources += more
    rules += [
        parse_rule(
            each,
            min_length=options.min_length,
            cool_down=options.cool_down,
            hysteresis=options.event_hysteresis,
        )
        for each in options.events
    ]
    names = tuple(by_name(sources))
    if not rules and not options.answers and options.listen is None:
        raise UsageError(
            "nothing would be told; give --event 'LABEL>SCORE', --answers or --listen ADDRESS"
        )
    credentials = read_credentials(options.credentials, names=names)
    pairs = [(name, rule.name) for name in names for rule in rules]
    with (
        ended_by_sigterm(),
        Predictor(options.model, **shared.predictor_options(options)) as predictor,
        _page(page, predictor, names) as board,
    ):
        printed = SinkQueue(PrintedLines(as_json=options.json))
        with Watch(
            predictor,
            sources,
            rules,
            sinks=[printed, *_sinks(options, credentials, pairs)],
            pictures=options.pictures,
            clips=options.films,
            credentials=credentials,
            options=stream_options(options),
            observer=board,
            notify=options.notify,
        ) as watch:
            if board is not None:
                board.counts.follow(lambda: watch.counts)
            for answer in watch:
                if options.answers:
                    printed.put({"type": "answer", **answer.to_dict(options.top)})
        if printed.error is not None:  # of its last lines
            raise printed.error
    return 0


def _page_options(options: argparse.Namespace) -> ServerOptions | None:
    """Return the options of the page; None for no page.

    Raises:
        UsageError: there are options of a page and no address, or see `server_options`.
    """
    if options.listen is not None:
        return server_options(options, _LISTEN)
    if (
        options.token_file is not None
        or options.tls_cert is not None
        or options.tls_key is not None
    ):
        raise UsageError(f"a page is shown with --listen alone; add it, such as --listen {_LISTEN}")
    return None


@contextlib.contextmanager
def _page(
    options: ServerOptions | None, predictor: Predictor, names: Sequence[str]
) -> Iterator[Board | None]:
    """Serve a page, and tell on stderr where it is; yield its board, or None without options."""
    if options is None:
        yield None
        return
    from r2p_edge.page import Board, serve_page

    about = {
        "model": predictor.spec.name,
        "runtime": predictor.runtime,
        "device": predictor.device,
        "precision": predictor.spec.precision,
    }
    board = Board(names, about=about)
    with serve_page(board, options.listen, options.token, options.tls) as server:
        made = f"?token={options.token}" if options.made else ""
        print(f"r2p-edge: the page is at {server.url}{made}", file=sys.stderr, flush=True)
        yield board


def _sinks(
    options: argparse.Namespace, credentials: Credentials, pairs: list[tuple[str, str]]
) -> list[Sink]:
    """Return the receivers of the events that options name."""
    from r2p_edge.watch.mqtt import MqttSink
    from r2p_edge.watch.text_sinks import FileSink, ProgramSink
    from r2p_edge.watch.webhook import WebhookSink

    sinks: list[Sink] = []
    if options.events_file is not None:
        sinks.append(FileSink(options.events_file))
    if options.program is not None:
        sinks.append(ProgramSink(options.program))
    if (url := options.webhook or credentials.webhook_url) is not None:
        sinks.append(WebhookSink(url, secret=credentials.webhook))
    if options.mqtt is not None:
        sinks.append(MqttSink(options.mqtt, login=credentials.mqtt, pairs=pairs))
    return sinks


class PrintedLines:
    """Standard output, a line for each event and answer.

    A reader that hangs holds up the thread of this sink alone; so nothing is left in a buffer that
    the end of the program would have to write.

    Args:
        as_json: print JSON; otherwise text for people.
    """

    name = "the standard output"

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def send(self, message: Mapping[str, Any], stop: threading.Event) -> None:
        """Print a message.

        Raises:
            StdoutError: nobody reads it any more, or it is full.
        """
        line = json_line(message) if self._as_json else shown_line(message)
        try:
            descriptor = sys.stdout.fileno()
        except (AttributeError, OSError):  # somebody has put something else in its place
            print(line, flush=True)
            return
        data = f"{line}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError as error:
            raise StdoutError(error) from error

    def close(self) -> None:
        """Release nothing."""


def shown_line(message: Mapping[str, Any]) -> str:
    """Return an event or an answer as a line for people."""
    score = f"{message['score']:.2%}" if 0 <= message["score"] <= 1 else f"{message['score']:.4g}"
    label = message["label"] or ("(nothing moves)" if message.get("still") else "(no label)")
    line = f"{message['wall']}  {message['source']}  {label} {score}"
    if message["type"] == "answer":
        return line
    if message["type"] == "begin":
        return f"{line}  {message['rule']} begins"
    lasted = message["end"] - message["start"]
    why = _ENDED_BY.get(message["ended_by"], message["ended_by"])
    return f"{line}  {message['rule']} ends after {lasted:.1f} s, {why}"
