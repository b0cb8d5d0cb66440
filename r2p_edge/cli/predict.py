"""`r2p-edge predict`: name the action in videos."""

from __future__ import annotations

import argparse

from r2p_edge.addresses import without_password
from r2p_edge.cli import options as shared
from r2p_edge.cli.output import complain, print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import R2PError
from r2p_edge.prediction import Prediction
from r2p_edge.predictor import Predictor

_LITTLE = 3  # a video this many times as long as its clip has more to see


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "predict",
        run,
        "Name the action in videos.",
        "predict r2p-edge-demo/motion-fp32.onnx video.mp4",
        "predict model.xml one.mp4 two.avi --views 10 --json",
    )
    shared.add_model(verb)
    verb.add_argument(
        "videos", nargs="+", metavar="VIDEO", help="video file, URL, or folder of images"
    )
    shared.add_views(verb, "average over N clips per video (default: 1, the clip in the middle)")
    verb.add_former_clips(shared.VIEWS)
    shared.add_top(verb, "list the K most probable classes")
    shared.add_fps(verb)
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Answer each video; return 0, or the exit code of the last failure."""
    shared.check_counts(options, ["views", "top"])
    shared.check_order(options.model, options.videos)
    code = 0
    with Predictor(options.model, **shared.predictor_options(options)) as predictor:
        for video in options.videos:
            try:
                prediction = predictor.predict(video, clips=options.views, fps=options.fps)
            except R2PError as error:
                # The other videos still get their answer.
                code = error.exit_code
                complain(error)
                if options.json:
                    print_json({"video": video, "error": str(error)})
                continue
            if options.json:
                print_json({"video": video, **prediction.to_dict(options.top)})
            else:
                show(video, prediction, options.top)
    return code


def show(video: str, prediction: Prediction, top: int) -> None:
    """Print the answer to one video for people."""
    notes = [f"looked at {prediction.seen()}"]
    if prediction.clips == 1 and prediction.duration is not None:
        first, last = prediction.span
        if prediction.duration > _LITTLE * (last - first):
            notes.append("r2p-edge timeline looks at all of it")
    if prediction.coverage < 1:
        notes.append(f"{prediction.coverage:.0%} of the frames are real")
    if prediction.truncated:
        notes.append("truncated")
    print(f"{without_password(video)}  ({'; '.join(notes)})")
    for label, score in prediction.top(top):
        print(f" {prediction.shown(score)}  {label}")
    timing = prediction.timing
    print(
        f"  {timing.total:.0f} ms: decode {timing.decode:.1f}, preprocess {timing.preprocess:.1f}, "
        f"inference {timing.inference:.1f} ({prediction.runtime} on {prediction.device}, "
        f"{prediction.precision})"
    )
