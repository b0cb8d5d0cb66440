"""`r2p-edge eval`: measure the accuracy and latency of models on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json, progress_bars, warn
from r2p_edge.cli.verb import Verbs, add_verb


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "eval",
        run,
        "Measure the accuracy and latency of models on a data set.",
        "eval model.onnx --videos UCF-101/ --split testlist01.txt",
        "eval model-fp32.onnx model-int8.xml --videos videos/ --views 10 --per-class",
        "eval model.onnx --videos videos/ --out answers.csv --resume --report report.html",
    )
    verb.add_argument(
        "models",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="model file, or JSON file of two streams",
    )
    shared.add_videos(verb, "folder of videos, with a folder for each class", required=True)
    shared.add_split(
        verb,
        "list of the videos to measure on, such as UCF101's testlist01.txt or a CSV file of paths "
        "and labels (default: all)",
    )
    shared.add_views(verb, "average over N clips per video (default: 1, the clip in the middle)")
    verb.add_former_clips(shared.VIDEOS)
    verb.add_argument(
        "--per-class", action="store_true", help="show the top-1 accuracy of each class too"
    )
    verb.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="write a row for each video and model into FILE: .csv, .jsonl or .parquet (default: "
        "keep none)",
    )
    verb.add_argument(
        "--resume",
        action="store_true",
        help="with --out, go on where an earlier run of the same models, options and videos ended",
    )
    verb.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write a page about the answers into FILE, .html (default: none)",
    )
    shared.add_worst(verb)
    shared.add_runtime_options(verb, "the models")


def run(options: argparse.Namespace) -> int:
    """Measure; return 0, or the highest exit code of models that could not be opened.

    Raises:
        VideoError: many videos cannot be read; the figures of the others are printed before.
    """
    from r2p_edge.calibration.evaluate import evaluate
    from r2p_edge.calibration.ucf101 import check_unreadable

    with progress_bars() as progress:
        report = evaluate(
            options.models,
            options.videos,
            options.split,
            views=options.views,
            per_class=options.per_class,
            out=options.out,
            resume=options.resume,
            report=options.report,
            worst=options.worst,
            **shared.runtime_options(options),
            progress=lambda done, total: progress("evaluating", done, total),
        )
    for result in report["results"]:
        for doubt in result.get("warnings", ()):
            warn(f"{result['path']}: {doubt}")
    if options.json:
        print_json(report)
    else:
        show(report)
        for what, path in (("answers", options.out), ("report", options.report)):
            if path is not None:
                print(f"{what}: {path}")
    failed = [(each["video"], each["error"]) for each in report["failed"]]
    check_unreadable(failed, report["videos"] + len(failed))
    return max((result.get("exit_code", 0) for result in report["results"]), default=0)


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    from r2p_edge.calibration.evaluate import print_evaluation

    print_evaluation(report)
