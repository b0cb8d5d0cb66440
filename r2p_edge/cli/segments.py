"""Options of the verbs that divide videos into segments, and their way from video to video."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Literal, TypedDict

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import VideoFailures, progress_bars
from r2p_edge.cli.verb import VerbParser
from r2p_edge.errors import count_of
from r2p_edge.predictor import Predictor
from r2p_edge.segments.timelines import HYSTERESIS, MIN_LENGTH, MIN_SCORE, Timeline
from r2p_edge.segments.windows import SecondsProgress
from r2p_edge.video.named import NamedVideo

_STEPS = 1000  # of a video, on the progress bar


class TimelineOptions(TypedDict):
    """Arguments of `timeline`."""

    every: float | None
    min_length: float
    hysteresis: float
    min_score: float
    fps: float | None
    reuse: Literal["features"] | None
    border: Literal["flush", "wait"] | None


def add_options(verb: VerbParser) -> None:
    """Add MODEL, VIDEO and the options of `TimelineOptions`."""
    shared.add_model(verb)
    verb.add_argument(
        "videos",
        nargs="+",
        metavar="VIDEO",
        help=shared.VIDEO_HELP,
    )
    verb.add_argument(
        "--every",
        type=float,
        metavar="SECONDS",
        help="time from one clip to the next where the label may change, rounded to ticks; "
        "elsewhere it is half a clip (default: an eighth of a clip)",
    )
    verb.add_argument(
        "--min-length",
        type=float,
        default=MIN_LENGTH,
        metavar="SECONDS",
        help=f"shortest segment (default: {MIN_LENGTH:g})",
    )
    verb.add_argument(
        "--hysteresis",
        type=float,
        default=HYSTERESIS,
        metavar="SECONDS",
        help="take a new label when it has beaten the old one for SECONDS at full score; at half "
        f"the lead, twice as long (default: {HYSTERESIS:g})",
    )
    verb.add_argument(
        "--min-score",
        type=float,
        default=MIN_SCORE,
        metavar="SCORE",
        help="mean score below which a segment has no label and is shown as a gap "
        f"(default: {MIN_SCORE:g})",
    )
    shared.add_reuse(verb)
    shared.add_fps(verb)


def timeline_options(options: argparse.Namespace) -> TimelineOptions:
    """Return the options of `add_options`."""
    return {
        "every": options.every,
        "min_length": options.min_length,
        "hysteresis": options.hysteresis,
        "min_score": options.min_score,
        "fps": options.fps,
        "reuse": options.reuse,
        "border": options.border,
    }


def counted(found: Timeline) -> str:
    """Return the number of a timeline's segments with a label, with the word for them."""
    return count_of(sum(segment.label is not None for segment in found.segments), "segment")


def each_video(
    options: argparse.Namespace,
    videos: Sequence[NamedVideo],
    answer: Callable[[Predictor, int, SecondsProgress], None],
) -> int:
    """Answer one video after another; return 0, or the exit code of the last failure.

    Args:
        answer: takes the model, the number of a video, and a function to call with its progress.
    """
    failures = VideoFailures(as_json=options.json)
    with (
        Predictor(options.model, **shared.predictor_options(options)) as predictor,
        progress_bars() as bar,
    ):
        bar("videos", 0, _STEPS * len(videos))
        for number, video in enumerate(videos):

            def progress(done: float, total: float, number: int = number) -> None:
                steps = round(_STEPS * min(done / total, 1.0)) if total > 0 else _STEPS
                bar("videos", _STEPS * number + steps, _STEPS * len(videos))

            with failures.of(video.source):
                answer(predictor, number, progress)
    return failures.code
