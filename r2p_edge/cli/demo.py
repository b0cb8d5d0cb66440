"""`r2p-edge demo`: run the bundled model through every installed runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json, progress_bars
from r2p_edge.cli.verb import Verbs, add_verb

_NUM_CLIPS = 240
_OUT = Path("r2p-edge-demo")
_WIDTH = 120  # of the table where there is no terminal, in columns


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "demo",
        run,
        "Run the bundled model through every runtime installed here.",
        "demo",
        "demo --num-clips 24 --out /tmp/demo --json",
    )
    shared.add_num_clips(verb, f"answer N held-out clips (default: {_NUM_CLIPS})", _NUM_CLIPS)
    verb.add_former_clips(shared.NUM_CLIPS)
    verb.add_argument(
        "--out",
        type=Path,
        default=_OUT,
        metavar="DIR",
        help=f"output folder for models and videos, made if it does not exist (default: {_OUT})",
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo; return 0."""
    from r2p_edge.demo import run_demo

    with progress_bars() as progress:
        report = run_demo(
            options.out,
            options.num_clips,
            progress=progress,
        )
    if options.json:
        print_json(report)
    else:
        show(report)
    return 0


def show(report: dict[str, Any]) -> None:
    """Print the report as a table for people."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.SIMPLE,  # with the next line, narrow enough for a terminal of 80 columns
        pad_edge=False,
        title=f"{report['model']}: {report['clips']} held-out clips of {report['classes']} "
        f"classes; times from the video file to the answer, preprocessing in {report['kernel']}",
    )
    for column in ("runtime", "device", "precision", "top-1", "agrees"):
        table.add_column(column, no_wrap=True)
    for percentile in ("p50", "p90", "p99"):
        table.add_column(f"{percentile} ms", no_wrap=True)
    for result in report["results"]:
        table.add_row(
            result["runtime"],
            result["device"],
            result["precision"],
            f"{result['top1']:.1%}",
            f"{result['agreement']:.1%}",
            *(f"{milliseconds:.1f}" for milliseconds in result["latency_ms"].values()),
        )
    # Without a terminal rich assumes 80 columns and would cut the names.
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    console.print(table)
    for path in sorted({result["path"] for result in report["results"]}):
        console.print(f"model: {path}", soft_wrap=True)
    for left in report["left_out"]:
        console.print(f"left out: {left['reason']}", soft_wrap=True, markup=False)
