"""`r2p-edge sheet`: draw the frames that a model sees of a video, and where it sees its answer."""

from __future__ import annotations

import argparse
from pathlib import Path

from r2p_edge.addresses import without_password
from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import count_of
from r2p_edge.predictor import Predictor
from r2p_edge.sheet import SeenVideo, look_at, write_sheet
from r2p_edge.sheet.drawing import score_text
from r2p_edge.sheet.files import SHEET_FORMATS, check_sheet_path


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "sheet",
        run,
        "Draw the frames that a model sees of a video, and where it sees its answer.",
        "sheet r2p-edge-demo/motion-fp32.onnx video.mp4 --out sheet.svg",
        "sheet model.onnx video.mp4 --cam --label 'slide left' --out sheet.html",
    )
    shared.add_model(verb)
    verb.add_argument("video", metavar="VIDEO", help="video file, URL, or folder of images")
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help=f"picture to write, {' or '.join(SHEET_FORMATS)}",
    )
    verb.add_argument(
        "--cam",
        action="store_true",
        help="lay over the frames what each place says for a class; for models that were exported "
        "with --feature-output",
    )
    verb.add_argument(
        "--label", metavar="NAME", help="class for --cam (default: the one with the best score)"
    )
    shared.add_views(verb, "show N clips of the video (default: 1, the clip in the middle)")
    shared.add_fps(verb)
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Draw; return 0."""
    shared.check_counts(options, ["views"])
    shared.check_order(options.model, [options.video])
    check_sheet_path(options.out)
    with Predictor(options.model, **shared.predictor_options(options)) as predictor:
        look = look_at(
            predictor,
            options.video,
            clips=options.views,
            fps=options.fps,
            cam=options.cam,
            label=options.label,
        )
    write_sheet(look, options.out)
    if options.json:
        print_json(_report(look, options.out))
    else:
        show(look, options.out)
    return 0


def show(look: SeenVideo, out: Path) -> None:
    """Print what was drawn, for people."""
    label, score = look.top[0]
    frames = sum(map(len, look.clips))
    print(
        f"{out}: {count_of(frames, 'frame')} of {without_password(look.video)} from "
        f"{look.clips[0][0].time:.2f}"
        f" to {look.clips[-1][-1].time:.2f} s, {label} {score_text(look.kind, score)}"
    )
    if look.activation is not None:
        count, *places = look.activation.values.shape[1:]
        print(
            f"  the colours are for {look.activation.label}: {count_of(count, 'time position')} of "
            f"{len(look.clips[0]) / count:g} frames each, {places[0]} x {places[1]} places"
        )


def _report(look: SeenVideo, out: Path) -> dict[str, object]:
    found = look.activation
    return {
        "video": look.video,
        "out": str(out),
        "label": look.top[0][0],
        "score": look.top[0][1],
        "coverage": look.coverage,
        "clips": [{"times": [round(tile.time, 6) for tile in clip]} for clip in look.clips],
        "activation": None
        if found is None
        else {
            "label": found.label,
            "outputs": found.outputs.tolist(),
            "values": found.values.tolist(),
        },
    }
