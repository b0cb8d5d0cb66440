"""`r2p-edge benchmark`: measure a model in every form that this machine runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.export_options import (
    add_checkpoint_options,
    add_contract_options,
    recipe_options,
)
from r2p_edge.cli.output import print_json, progress_bars, warn
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.runtimes import RUNTIMES

_NUM_CLIPS, _TIMEOUT = 100, 300.0


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "benchmark",
        run,
        "Measure a model on every runtime, in every precision and graph that this machine can do.",
        "benchmark motion",
        "benchmark weights.pth --preset kinetics400-torchvision --videos videos/ --out table.md",
        "benchmark models/ --num-clips 30 --json",
    )
    verb.add_argument(
        "model",
        metavar="MODEL",
        help="checkpoint, ONNX file, ID of fetched weights or 'motion', which is exported to "
        "everything that this machine runs; or another artifact, a folder of artifacts of one "
        "model, or the JSON file of two streams, measured as they are",
    )
    shared.add_videos(
        verb,
        "folder of videos to ask for, with a folder for each class to measure accuracy and to "
        "calibrate int8 (default: generated clips)",
    )
    shared.add_num_clips(
        verb, f"ask each row for N clips at most (default: {_NUM_CLIPS})", _NUM_CLIPS
    )
    verb.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file to write the report to: .json, .csv or .md (default: none, and text on stdout)",
    )
    verb.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="folder to export into, made if it does not exist (default: a temporary one)",
    )
    verb.add_argument(
        "--runtimes",
        metavar="LIST",
        help=f"runtimes to measure, separated by commas: {', '.join(RUNTIMES)} (default: all that "
        "are installed)",
    )
    verb.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="number of CPU threads of one model (default: one per core that the process may use)",
    )
    verb.add_argument(
        "--timeout",
        type=float,
        default=_TIMEOUT,
        metavar="SECONDS",
        help="give a row up that takes longer than SECONDS to open or to answer (default: "
        f"{_TIMEOUT:g})",
    )
    add_checkpoint_options(verb.add_argument_group("weights of a checkpoint"))
    add_contract_options(verb)


def run(options: argparse.Namespace) -> int:
    """Measure; return 0, or the highest exit code of the rows that failed."""
    from r2p_edge.artifact.atomic import check_folder
    from r2p_edge.benchmark import benchmark, write_benchmark
    from r2p_edge.benchmark.tables import check_suffix

    if options.out is not None:  # before work that takes minutes
        check_suffix(options.out)
        check_folder(options.out)
    recipe = {name: value for name, value in recipe_options(options).items() if value is not None}
    with progress_bars() as progress:
        report = benchmark(
            options.model,
            videos=options.videos,
            num_clips=options.num_clips,
            runtimes=shared.names_in(options.runtimes) or None,
            threads=options.threads,
            keep=options.keep,
            timeout=options.timeout,
            recipe={
                name: str(value) if isinstance(value, Path) else value
                for name, value in recipe.items()
            },
            progress=progress,
        )
    for doubt in report["warnings"]:
        warn(doubt)
    if options.out is not None:
        write_benchmark(report, options.out)
    if options.json:
        print_json(report)
    else:
        show(report)
    return max((row.get("exit_code", 0) for row in report["results"]), default=0)


def show(report: dict[str, Any]) -> None:
    """Print the report for people."""
    from r2p_edge.benchmark import print_benchmark

    print_benchmark(report)
