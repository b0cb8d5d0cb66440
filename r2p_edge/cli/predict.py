"""`r2p-edge predict`: name the action in videos."""

from __future__ import annotations

import argparse

from r2p_edge.addresses import without_password
from r2p_edge.cli import options as shared
from r2p_edge.cli.archive import add_archive_options, check_no_archive, run_archive
from r2p_edge.cli.output import VideoFailures, print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError
from r2p_edge.prediction import Prediction
from r2p_edge.predictor import Predictor
from r2p_edge.video.named import videos_of

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
        "predict model.xml clips/ --out results.csv --resume",
        "predict rgb.onnx video.mp4 --flow flow.onnx --fusion r2plus1d",
    )
    shared.add_model(verb)
    verb.add_argument(
        "videos",
        nargs="*",
        metavar="VIDEO",
        help=shared.VIDEO_HELP,
    )
    shared.add_views(verb, "average over N clips per video (default: 1, the clip in the middle)")
    verb.add_former_clips(shared.VIEWS)
    shared.add_top(verb, "list the K most probable classes")
    shared.add_fps(verb)
    add_archive_options(verb)
    shared.add_two_streams(verb)
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Answer each video; return 0, or the exit code of the last failure."""
    shared.check_counts(options, ["views", "top"])
    shared.check_order(options.model, options.videos)
    model = shared.streams_of(options)
    if options.out is not None:
        if options.flow is not None:
            raise UsageError(
                "--out keeps the answers of one model, and there are two; leave out --out or "
                "--flow, or measure both with eval --out"
            )
        return run_archive(options)
    check_no_archive(options)
    if not options.videos:
        raise UsageError("there is no video to look at; give videos, or a folder of them")
    failures = VideoFailures(as_json=options.json)
    opened = shared.predictor_options(options)
    with Predictor(model, fusion=options.fusion, **opened) as predictor:
        for source in options.videos:
            with failures.of(source):
                for video in videos_of(source):
                    with failures.of(video):
                        answer = predictor.predict(video, clips=options.views, fps=options.fps)
                        if options.json:
                            print_json({"video": video, **answer.to_dict(options.top)})
                        else:
                            show(video, answer, options.top)
    return failures.code


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
    for name, each in prediction.streams.items():
        print(f"  {name} alone: {each.shown(each.score).strip()} {each.label}")
    timing = prediction.timing
    print(
        f"  {timing.total:.0f} ms: decode {timing.decode:.1f}, preprocess {timing.preprocess:.1f}, "
        f"inference {timing.inference:.1f} ({prediction.runtime} on {prediction.device}, "
        f"{prediction.precision})"
    )
