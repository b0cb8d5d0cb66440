"""Options of the verbs that watch live sources, and how these verbs end."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from r2p_edge.cli import options as shared
from r2p_edge.cli.verb import VerbParser
from r2p_edge.live.credentials import LOGIN_VARIABLE
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.live.options import STREAM_OPTIONS, StreamOptions


def add_answer_options(verb: VerbParser) -> None:
    """Add the options that say when there is an answer, and how it follows from the scores."""
    group = verb.add_argument_group("answers")
    group.add_argument(
        "--stride",
        type=int,
        metavar="TICKS",
        help="ticks from one answer to the next, where a tick is the time between two frames of a "
        "clip (default: half a clip)",
    )
    group.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="seconds from one answer to the next, in place of --stride",
    )
    group.add_argument(
        "--smoothing",
        type=float,
        metavar="WEIGHT",
        help="average the scores over time; WEIGHT is the share of the newest clip, above 0 and at "
        "most 1 (default: no average)",
    )
    group.add_argument(
        "--majority",
        type=int,
        metavar="N",
        help="let the newest N clips vote, in place of --smoothing (default: no vote)",
    )
    group.add_argument(
        "--hysteresis",
        type=float,
        default=0.0,
        metavar="LEAD",
        help="keep a label until another is more probable by LEAD, from 0 to 1 (default: 0)",
    )
    group.add_argument(
        "--min-score",
        type=float,
        default=0.0,
        metavar="SCORE",
        help="give no label whose probability is below SCORE, from 0 to 1 (default: 0)",
    )
    verb.add_flag_with_number(
        group,
        "--motion",
        MOTION,
        metavar="=LEVELS",
        help="run the model only while something moves, that is, changes by LEVELS of 255 grey "
        "levels; write a number after an equals sign, as in --motion=20 (default: off; "
        f"{MOTION:g} without a number)",
    )
    shared.add_reuse(group)
    group.add_argument(
        "--policy",
        choices=("latest", "all"),
        help="latest skips answers that would come too late; all lets the source wait for every "
        "answer (default: latest for a live source, all for a file)",
    )
    shared.add_top(verb, "list the K most probable classes in JSON")


def add_source_options(verb: VerbParser, *, reconnect: float = 60.0) -> None:
    """Add the options that say how a source is read.

    Args:
        verb: the parser.
        reconnect: default of `--reconnect`.
    """
    group = verb.add_argument_group("source")
    shared.add_fps(group)
    group.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="seconds to wait for a frame from the network (default: 10)",
    )
    group.add_argument(
        "--reconnect",
        type=float,
        default=reconnect,
        metavar="SECONDS",
        help="seconds to try to reconnect before the source is given up; inf is for ever, also if "
        f"it never came (default: {reconnect:g})",
    )
    group.add_argument(
        "--transport",
        choices=("tcp", "udp"),
        default="tcp",
        help="transport of an RTSP source (default: tcp)",
    )
    group.add_argument(
        "--notify",
        action="store_true",
        help="notify systemd that the service is ready and alive (READY and WATCHDOG)",
    )
    group.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help="file of TOML with user and password of the source, which an address in the list of "
        f"processes would show to everybody (default: USER:PASSWORD in {LOGIN_VARIABLE}, if set)",
    )


def stream_options(options: argparse.Namespace) -> StreamOptions:
    """Return the options of `add_answer_options` and `add_source_options`."""
    found: Any = {name: getattr(options, name) for name in STREAM_OPTIONS}
    return cast(StreamOptions, found)


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, with which service managers and containers stop a program, end it in order.

    A stream ends by being stopped, so the exit code is 0. As the first process of a container, it
    would not receive the signal without a handler.
    """

    def end(*_: object) -> None:
        sys.exit(0)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
