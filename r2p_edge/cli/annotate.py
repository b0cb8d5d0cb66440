"""`r2p-edge annotate`: write what happens into the pictures of a video."""

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
from r2p_edge.segments.files import output_paths
from r2p_edge.segments.film import FILMS, annotate, check_film
from r2p_edge.segments.windows import SecondsProgress
from r2p_edge.video.named import named_videos


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "annotate",
        run,
        "Write what happens when into the pictures of a video, and keep its times and sound.",
        "annotate model.onnx video.mp4 --out film.mp4",
        "annotate model.onnx videos/ --out films/ --min-length 3",
    )
    segments.add_options(verb)
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="PATH",
        help=f"film to write ({', '.join(FILMS)}), or folder for a film of each video",
    )
    shared.add_predictor_options(verb)


def run(options: argparse.Namespace) -> int:
    """Write the film of each video; return 0, or the exit code of the last failure."""
    shared.check_order(options.model, options.videos)
    videos = named_videos(options.videos)
    if os.path.isdir(options.out) or not options.out.suffix:
        films = output_paths(videos, options.out, FILMS[0])
    elif len(videos) > 1:
        raise UsageError(
            f"{options.out} is one film and there are {len(videos)} videos; give a folder, which "
            "gets a film of each"
        )
    else:
        films = [options.out]
    check_film(films[0], videos[0].source)

    def answer(predictor: Predictor, number: int, progress: SecondsProgress) -> None:
        found = annotate(
            predictor,
            videos[number].source,
            films[number],
            **segments.timeline_options(options),
            progress=progress,
        )
        if options.json:
            print_json({**found.to_dict(), "film": str(films[number])})
        else:
            print(f"{found.video}\n  {segments.counted(found)}: {films[number]}")

    return segments.each_video(options, videos, answer)
