"""`r2p-edge stream`: name the action in live video."""

from __future__ import annotations

import argparse

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.stream_options import (
    add_answer_options,
    add_source_options,
    ended_by_sigterm,
    stream_options,
)
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import count_of
from r2p_edge.live.credentials import read_credentials
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
    add_answer_options(verb)
    add_source_options(verb)
    shared.add_two_streams(verb)
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Answer a source until it ends or the process is stopped; return 0."""
    shared.check_counts(options, ["top"])
    shared.check_order(options.model, [options.source])
    given = int(options.source) if options.source.isdecimal() else options.source
    source = read_credentials(options.credentials).applied(None, given)
    model, opened = shared.streams_of(options), shared.predictor_options(options)
    with (
        ended_by_sigterm(),
        Predictor(model, fusion=options.fusion, **opened) as predictor,
        predictor.stream(source, notify=options.notify, **stream_options(options)) as answers,
    ):
        for answer in answers:
            if options.json:
                print_json(answer.to_dict(options.top))
            else:
                show(answer)
    return 0


def show(answer: Prediction) -> None:
    """Print one answer for people."""
    live = answer.live
    assert live is not None
    label, score = answer.label or "(no label)", answer.score
    if live.still:
        label = "(nothing moves)"
    elif answer.kind == "values":
        label, score = answer.top(1)[0]
    notes = [
        f"{name} alone {each.shown(each.score).strip()} {each.label}"
        for name, each in answer.streams.items()
    ]
    notes.append(f"{live.age_ms:.0f} ms after the newest frame")
    if answer.coverage < 1:
        notes.append(f"{answer.coverage:.0%} of the frames are real")
    if live.lag:
        notes.append(f"{live.lag:.2f} s of them awaited")
    if live.skipped:
        notes.append(f"{count_of(live.skipped, 'answer')} skipped")
    if live.dropped:
        notes.append(f"{count_of(live.dropped, 'frame')} dropped")
    if live.gaps:
        notes.append(f"interrupted {count_of(live.gaps, 'time')}")
    print(
        f"{answer.span[1]:10.2f} s {answer.shown(score)}  {label}  ({', '.join(notes)})", flush=True
    )
