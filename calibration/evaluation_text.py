"""The report of an evaluation as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r2p_edge.errors import count_of
from r2p_edge.text_table import table_lines, terminal_width

_KEYS = 2  # columns that name a model


def print_evaluation(report: Mapping[str, Any]) -> None:
    """Print the report of `evaluate` on stdout, in blocks as wide as the terminal."""
    views = f", {report['views']} clips of each" if report["views"] > 1 else ""
    videos = count_of(report["videos"], "video")
    print(f"{videos} of {report['split'] or 'the folder'}{views}")
    if report["missing"]:
        print(f"left out: {report['missing']} that the folder does not have")
    if report["foreign"]:
        print(f"left out: {report['foreign']} of classes that the model does not have")
    for failure in report["failed"]:
        print(f"left out: {failure['error']}")
    for line in figure_lines(report["results"], terminal_width(), clips=report["views"] > 1):
        print(line)


def figure_lines(
    results: Sequence[Mapping[str, Any]], width: int, *, clips: bool = False
) -> list[str]:
    """Return the lines of the tables of figures, as `evaluate` gives them for each model.

    Args:
        results: the models; the one that the others are compared with first.
        width: most characters of a line.
        clips: show the shares of single clips too.
    """
    measured = [result for result in results if "error" not in result]
    names = ["model", "runs on", *_cells(measured[0], measured, clips)]
    rows = []
    for result, name in zip(results, short_names([each["path"] for each in results])):
        if "error" in result:
            rows.append([name, "-", f"error: {result['error']}"])
        else:
            rows.append([name, runs_on(result), *_cells(result, measured, clips).values()])
    lines = table_lines(names, rows, keys=_KEYS, width=width)
    for result in measured:
        for name, own in result.get("streams", {}).items():
            top1, interval = share_text(own["top1"]), interval_text(own["top1_interval"])
            lines.append(f"{Path(result['path']).name}, {name} alone: top-1 {top1} ({interval})")
    if "per_class" in measured[0]:
        lines += _classes([result["per_class"] for result in measured], width)
    return lines


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the names of files, or their paths where two of these have the same name."""
    names = [Path(path).name for path in paths]
    different = len(set(names)) == len(set(paths))
    return names if different else list(paths)


def runs_on(result: Mapping[str, Any]) -> str:
    """Return what computed the answers, and in which precision."""
    precision, weights = result["precision"], result["weights"]
    computed = precision if weights in (None, precision) else f"{precision} from {weights} weights"
    return f"{result['runtime']} on {result['device']}, {computed}"


def share_text(share: float | None) -> str:
    """Return a share as people read it; a hyphen for None."""
    return "-" if share is None else f"{share:.1%}"


def interval_text(interval: Sequence[float] | None) -> str:
    """Return the ends of an interval of shares; a hyphen for None."""
    return "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def _cells(
    result: Mapping[str, Any], measured: Sequence[Mapping[str, Any]], clips: bool
) -> dict[str, str]:
    """Return the cells of a model's row by the names of their columns."""
    first = result is measured[0]
    cells = {"top-1": share_text(result["top1"])}
    cells["95 % interval"] = interval_text(result["top1_interval"])
    cells["top-5"] = share_text(result["top5"])
    if clips:
        cells["top-1 of clips"] = share_text(result["clip_top1"])
        cells["top-5 of clips"] = share_text(result["clip_top5"])
    if len(measured) > 1:
        cells["agrees"] = "reference" if first else share_text(result["agreement"])
    cells["ECE"] = share_text(result["ece"])
    latency = result["latency_ms"]
    for name, key, title in (
        *(("inference", "p50", "p50 ms"), ("inference", "p90", "p90"), ("inference", "p99", "p99")),
        ("total", "p50", "with decoding"),
    ):
        cells[title] = "-" if latency is None else f"{latency[name][key]:.1f}"
    return cells


def _classes(models: Sequence[Sequence[Mapping[str, Any]]], width: int) -> list[str]:
    """Return the lines of the table of classes, with the interval where there is one model."""
    if len(models) > 1:
        titles = [f"top-1 of model {number}" for number in range(1, len(models) + 1)]
        rows = [
            [each[0]["label"], str(each[0]["videos"]), *(share_text(row["top1"]) for row in each)]
            for each in zip(*models)
        ]
        return table_lines(["class", "videos", *titles], rows, keys=1, width=width)
    rows = [
        [
            row["label"],
            str(row["videos"]),
            share_text(row["top1"]),
            interval_text(row["top1_interval"]),
            row["instead"] or "",
        ]
        for row in models[0]
    ]
    names = ["class", "videos", "top-1", "95 % interval", "most often instead"]
    return table_lines(names, rows, keys=1, width=width)
