"""The report on a folder of labelled videos, printed as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r2p_edge.calibration.dataset.findings import one_name
from r2p_edge.calibration.dataset.report import DatasetReport, summary
from r2p_edge.spec.checks import some_of

_WIDTH = 160  # where the output is no terminal, of which rich would assume 80 columns
_KINDS = 2  # frame rates or sizes in a cell


def print_dataset(report: DatasetReport) -> None:
    """Print a table with a row for each class and one for all of them on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=_WIDTH)
    columns = ("class", "videos", "groups", "seconds", "frames", "frames/s", "size", "damaged")
    table = Table(*columns, "broken", box=box.SIMPLE, pad_edge=False)
    rows = {one_name(label): summary(report.of_class(label)) for label in report.classes}
    for name, row in rows.items():
        table.add_row(name, *_cells(row))
    table.add_section()
    table.add_row(f"all {len(report.classes)}", *_cells(summary(report.videos)))
    console.print(table)


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["videos"]),
        str(row["groups"]),
        _spread(row["seconds"], ".1f"),
        _spread(row["frames"], ".0f"),
        _kinds(row["fps"]),
        _kinds(row["sizes"]),
        str(row["damaged"] or "-"),
        str(row["broken"] or "-"),
    ]


def _spread(found: Mapping[str, float] | None, form: str) -> str:
    """Return the range of a number, with its median; of one value, that value."""
    if found is None:
        return "-"
    low, middle, high = (f"{found[key]:{form}}" for key in ("min", "median", "max"))
    return low if low == high else f"{low} to {high} ({middle})"


def _kinds(counts: Mapping[str, int]) -> str:
    """Return the most frequent values; with their numbers where there are several."""
    if len(counts) < 2:
        return "".join(counts) or "-"
    return some_of([f"{kind} ({count})" for kind, count in counts.items()], _KINDS)
