"""`r2p-edge timeline`: find out what happens when in videos."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from r2p_edge.cli import options as shared
from r2p_edge.cli import segments
from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import UsageError
from r2p_edge.predictor import Predictor
from r2p_edge.segments.files import (
    TIMELINE_FORMATS,
    check_format,
    check_output,
    output_paths,
    write_timelines,
)
from r2p_edge.segments.texts import caption, clock
from r2p_edge.segments.timelines import Timeline, timeline
from r2p_edge.segments.windows import SecondsProgress
from r2p_edge.video.named import NamedVideo, named_videos


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "timeline",
        run,
        "Find out what happens when in videos: segments from start to end.",
        "timeline model.onnx video.mp4 --out video.srt --out video.svg",
        "timeline model.onnx videos/ --out timelines/ --format csv,png",
    )
    segments.add_options(verb)
    verb.add_argument(
        "--out",
        type=Path,
        action="append",
        metavar="PATH",
        help=f"file to write, whose suffix chooses the format: {', '.join(TIMELINE_FORMATS)}; or, "
        "with --format, a folder for a file of each video; may be given again (default: print "
        "the segments)",
    )
    verb.add_argument(
        "--format",
        metavar="LIST",
        help="formats of the files in the folder --out, for example csv,svg",
    )
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Answer each video; return 0, or the exit code of the last failure."""
    shared.check_order(options.model, options.videos)
    videos = named_videos(options.videos)
    tables, singles = _planned(options, videos)
    done: list[Timeline] = []

    def answer(predictor: Predictor, number: int, progress: SecondsProgress) -> None:
        found = timeline(
            predictor,
            videos[number].source,
            **segments.timeline_options(options),
            progress=progress,
        )
        done.append(found)
        for path in singles[number]:
            write_timelines([found], path)
        if options.json:
            print_json(found.to_dict())
        else:
            show(found, [*singles[number], *tables])

    try:
        return segments.each_video(options, videos, answer)
    finally:  # what is done is kept, also where somebody interrupts the rest
        for path in tables if done else []:
            write_timelines(done, path)


def _planned(
    options: argparse.Namespace, videos: list[NamedVideo]
) -> tuple[list[Path], list[list[Path]]]:
    """Return the files of all videos together, and those of each of them."""
    outs: list[Path] = options.out or []
    if options.format is not None:
        if len(outs) != 1:
            raise UsageError("--format is for files in a folder; give one folder with --out DIR")
        singles: list[list[Path]] = [[] for _ in videos]
        for name in options.format.split(","):
            suffix = "." + name.strip().lower().lstrip(".")
            check_format(suffix)
            for paths, path in zip(singles, output_paths(videos, outs[0], suffix)):
                paths.append(path)
        for path in singles[0]:
            check_output(path)
        return [], singles
    for path in outs:
        if os.path.isdir(path):
            raise UsageError(f"{path} is a folder; say what to write there, as with --format csv")
        check_output(path, len(videos))
    return outs, [[] for _ in videos]


def show(found: Timeline, paths: list[Path]) -> None:
    """Print the segments of one video for people, or the files that they are written to."""
    notes = [clock(found.duration, hours=False)]
    if found.truncated:
        notes.append("truncated")
    print(f"{found.video}  ({', '.join(notes)})")
    if paths:
        print(f"  {segments.counted(found)}: {', '.join(map(str, paths))}")
        return
    for segment in found.segments:
        start, end = clock(segment.start, hours=False), clock(segment.end, hours=False)
        print(f"  {start:>11} - {end:>11}  {caption(segment)}")
