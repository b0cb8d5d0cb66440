"""`r2p-edge stream`: name the action in live video."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import VerbParser, Verbs, add_verb
from r2p_edge.errors import count_of
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.prediction import Prediction
from r2p_edge.predictor import Predictor


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "stream",
        run,
        "Name the action in live video, again and again.",
        "stream model.onnx 0 --every 1",
        "stream model.onnx rtsp://camera/1 --min-score 0.6 --motion=20 --json",
    )
    shared.add_model(verb)
    verb.add_argument(
        "source",
        metavar="SOURCE",
        help="number of a camera, network address, GStreamer pipeline, video file, or folder of "
        "images",
    )
    _add_answer_options(verb)
    _add_source_options(verb)
    shared.add_predictor_options(verb)


def _add_answer_options(verb: VerbParser) -> None:
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
    group.add_argument(
        "--policy",
        choices=("latest", "all"),
        help="latest skips answers that would come too late; all lets the source wait for every "
        "answer (default: latest for a live source, all for a file)",
    )
    shared.add_top(verb, "list the K most probable classes in JSON")


def _add_source_options(verb: VerbParser) -> None:
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
        default=60.0,
        metavar="SECONDS",
        help="seconds to try to reconnect before the source is given up (default: 60)",
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


def run(options: argparse.Namespace) -> int:
    """Answer a source until it ends or the process is stopped; return 0."""
    shared.check_counts(options, ["top"])
    shared.check_order(options.model, [options.source])
    source = int(options.source) if options.source.isdecimal() else options.source
    with (
        _ended_by_sigterm(),
        Predictor(options.model, **shared.predictor_options(options)) as predictor,
        predictor.stream(
            source,
            fps=options.fps,
            policy=options.policy,
            timeout=options.timeout,
            reconnect=options.reconnect,
            transport=options.transport,
            notify=options.notify,
            stride=options.stride,
            every=options.every,
            smoothing=options.smoothing,
            majority=options.majority,
            hysteresis=options.hysteresis,
            min_score=options.min_score,
            motion=options.motion,
        ) as answers,
    ):
        for answer in answers:
            if options.json:
                print_json(answer.to_dict(options.top))
            else:
                show(answer)
    return 0


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
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


def show(answer: Prediction) -> None:
    """Print one answer for people."""
    live = answer.live
    assert live is not None
    label, score = answer.label or "(no label)", answer.score
    if live.still:
        label = "(nothing moves)"
    elif answer.kind == "values":
        label, score = answer.top(1)[0]
    notes = [f"{live.age_ms:.0f} ms after the newest frame"]
    if answer.coverage < 1:
        notes.append(f"{answer.coverage:.0%} of the frames are real")
    if live.skipped:
        notes.append(f"{count_of(live.skipped, 'answer')} skipped")
    if live.dropped:
        notes.append(f"{count_of(live.dropped, 'frame')} dropped")
    if live.gaps:
        notes.append(f"interrupted {count_of(live.gaps, 'time')}")
    print(
        f"{answer.span[1]:10.2f} s {answer.shown(score)}  {label}  ({', '.join(notes)})", flush=True
    )
