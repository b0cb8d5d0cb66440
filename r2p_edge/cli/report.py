"""`r2p-edge report`: make a page about the answers in files of results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json, warn
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.errors import count_of


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "report",
        run,
        "Make a page about the answers in files of results.",
        "report answers.csv --out report.html",
        "report fp32.csv int8.csv --truth testlist01.txt --model model-fp32.onnx --out report.html",
    )
    verb.add_argument(
        "results",
        type=Path,
        nargs="+",
        metavar="RESULTS",
        help="file that eval --out or predict --out wrote: .csv, .jsonl or .parquet",
    )
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="page to write, .html"
    )
    verb.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="list of videos and their classes, such as UCF101's testlist01.txt or a CSV file of "
        "paths and labels (default: the classes in RESULTS, or else those of the folders that the "
        "videos lie in)",
    )
    verb.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="FILE",
        help="model file that answered, to show the frames that it saw; may be given several times "
        "(default: those that RESULTS of eval name)",
    )
    shared.add_worst(verb)


def run(options: argparse.Namespace) -> int:
    """Make the page; return 0."""
    from r2p_edge.calibration.report import make_report

    report = make_report(
        options.results,
        options.out,
        truth=options.truth,
        models=options.model or (),
        worst=options.worst,
    )
    for note in report["notes"]:
        warn(note)
    for result in report["results"]:
        for doubt in result.get("warnings", ()):
            warn(f"{result['path']}: {doubt}")
    if options.json:
        print_json({"out": str(options.out), **report})
    else:
        show(report, options.out)
    return 0


def show(report: dict[str, Any], out: Path) -> None:
    """Print the figures for people."""
    from r2p_edge.calibration.evaluation_text import figure_lines
    from r2p_edge.text_table import terminal_width

    videos, classes = count_of(report["videos"], "video"), count_of(report["classes"], "class")
    print(f"{out}: {videos}, {classes}")
    measured = [result for result in report["results"] if "top1" in result]
    for line in figure_lines(measured, terminal_width()) if measured else ():
        print(line)
