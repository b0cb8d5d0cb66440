"""The report of a benchmark as text for people, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r2p_edge.addresses import json_without_password
from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.benchmark.results import name_of
from r2p_edge.errors import UsageError, count_of
from r2p_edge.text_table import rate_text, table_lines, terminal_width

_MIB = 2**20
_KEYS = 2  # columns that name a row

_Row = Mapping[str, Any]


def _number(*path: str, digits: int = 1, scale: float = 1.0) -> Callable[[_Row], str]:
    """Return the function that finds a number of a row and writes it."""

    def text(row: _Row) -> str:
        value: Any = row
        for key in path:
            value = value[key]
        return "-" if value is None else f"{value / scale:.{digits}f}"

    return text


def _rate(which: str) -> Callable[[_Row], str]:
    """Return the function that finds a rate of a row and writes it."""

    def text(row: _Row) -> str:
        value = row["clips_per_s"][which]
        return "-" if value is None else rate_text(value)

    return text


def _accuracy(row: _Row) -> str:
    if row["top1"] is None:
        return "-"
    low, high = row["top1_interval"]
    return f"{row['top1']:.1%} ({low:.0%} to {high:.0%})"


def _agreement(row: _Row) -> str:
    if row["agreement"] is None:
        return "-"
    return "reference" if row["reference"] else f"{row['agreement']:.1%}"


def _model(row: _Row) -> str:
    batch = "" if row["batch"] in (None, 1) else f" batch {row['batch']}"
    device = "" if row["device"] in (None, "cpu") else f" on {row['device']}"
    return f"{name_of(row)}{device}{batch}"


_COLUMNS: Mapping[str, Callable[[_Row], str]] = {
    "model": _model,
    "file": lambda row: str(row["file"]),
    "p50 ms": _number("latency_ms", "p50"),
    "p90": _number("latency_ms", "p90"),
    "p99": _number("latency_ms", "p99"),
    "frame ms": lambda row: "-" if row["frame_ms"] is None else f"{row['frame_ms']:.1f}",
    "late ms": lambda row: "-" if row["lag_ms"] is None else f"{row['lag_ms']:.0f}",
    "clips/s": _rate("one_client"),
    "all cores": _rate("all_cores"),
    "library ms": _number("start_ms", "library", digits=0),
    "load": _number("start_ms", "load", digits=0),
    "first": _number("start_ms", "first_answer", digits=0),
    "peak MiB": _number("memory_mib", "peak", digits=0),
    "above": _number("memory_mib", "above_runtime", digits=0),
    "file MiB": _number("size", scale=_MIB),
    "top-1 (95 %)": _accuracy,
    "agrees": _agreement,
}
_OF_FRAMES = ("frame ms", "late ms")  # columns for reports that have per-frame rows


def print_benchmark(report: Mapping[str, Any]) -> None:
    """Print the report of `benchmark` on stdout, in blocks as wide as the terminal."""
    print("\n".join(_text(report, terminal_width())))


def write_benchmark(report: Mapping[str, Any], path: str | Path) -> None:
    """Write the report of `benchmark` as a file, all of it or nothing.

    Args:
        report: the report.
        path: ends in .json, .csv or .md. A CSV file has a row for each row and a column for each
            figure, Markdown a table and the sentences around it.

    Raises:
        UsageError: `path` ends in something else.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    text = _WRITERS[check_suffix(path)](json_without_password(report))
    # The name of a file may have bytes that are no letters.
    atomic_write(path, text.encode("utf-8", "backslashreplace"))


def check_suffix(path: str | Path) -> str:
    """Return the suffix of a report's file.

    Raises:
        UsageError: there is no such form of a report.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise UsageError(
            f"{path} ends in {suffix or 'no suffix'}; give a file that ends in "
            f"{', '.join(_WRITERS)}"
        )
    return suffix


def _head(report: Mapping[str, Any]) -> str:
    machine, labelled = report["machine"], "" if report["labelled"] else ", not labelled"
    cores, clips = count_of(machine["usable_cores"], "core"), count_of(report["clips"], "clip")
    where = f"{cores} of {machine['cpu'] or machine['architecture']}"
    return f"{report['model']}: {clips} ({report['clips_from']}{labelled}), {where}"


def _foot(report: Mapping[str, Any]) -> list[str]:
    """Return the sentences below the table, the advice last."""
    lines = []
    others, heats = report["other_programs"], {row.get("heat", 1) for row in report["results"]}
    if others["busy"]:
        sentence = (
            "The ratios between rows are uncertain too; run it again on a quiet machine."
            if others["ratios_uncertain"]
            else "All rows took turns, so their ratios hold."
        )
        lines.append(
            f"The machine was busy: other programs used {others['cores']:.1f} of {others['of']} "
            f"cores, so the times are too long. {sentence}"
        )
    if len(heats) > 1:
        lines.append(
            f"Memory was too short for all rows at once: they took turns in {len(heats)} groups, "
            "one after another."
        )
    for row in report["results"]:
        if row.get("all_cores_error"):
            lines.append(f"{row['file']} on {_model(row)}, all cores: {row['all_cores_error']}")
    reasons: dict[str, list[str]] = {}
    for each in report["left_out"]:
        reasons.setdefault(each["reason"], []).append(each["what"])
    lines += [f"left out: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    lines += [f"left out: {each['video']}: {each['error']}" for each in report["failed"]]
    best = report["recommended"]
    row = _row_of(report, best)
    kept = "" if best["path"] else "; --keep DIR keeps the file"
    lines.append(f"Use {best['file']} on {_model(row)}: {best['because']}{kept}.")
    if (each := report["every_frame"]) is not None:
        border = f", border {each['border']}" if each["border"] else ""
        lines.append(
            f"For an answer at each frame, {each['file']} with reuse{border}: {each['because']}."
        )
    return lines


def _row_of(report: Mapping[str, Any], best: _Row) -> _Row:
    """Return the row that is recommended."""
    keys = ("file", "runtime", "device", "precision")
    rows = [row for row in report["results"] if all(row[key] == best[key] for key in keys)]
    return next((row for row in rows if not row["per_frame"]), rows[0])


def _columns(report: Mapping[str, Any]) -> dict[str, Callable[[_Row], str]]:
    """Return the columns that say something of the rows of a report."""
    frames = any(row["per_frame"] for row in report["results"])
    return {name: write for name, write in _COLUMNS.items() if frames or name not in _OF_FRAMES}


def _cells(report: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells of the rows; the last one of a row that failed is its error."""
    writers, cells = list(_columns(report).values()), []
    for row in report["results"]:
        if "error" in row:
            written = [*(write(row) for write in writers[:_KEYS]), f"failed: {row['error']}"]
        else:
            written = [write(row) for write in writers]
        cells.append(written)
    return cells


def _text(report: Mapping[str, Any], width: int) -> list[str]:
    table = table_lines(list(_columns(report)), _cells(report), keys=_KEYS, width=width)
    return [_head(report), *table, "", *_foot(report)]


def _markdown(report: Mapping[str, Any]) -> str:
    names = list(_columns(report))
    lines = [f"**{_escaped(_head(report))}**", "", _bar(names)]
    lines.append(_bar(["---"] * _KEYS + ["---:"] * (len(names) - _KEYS)))
    for row in _cells(report):
        lines.append(_bar(list(map(_escaped, row)) + [""] * (len(names) - len(row))))
    for line in _foot(report):
        lines += ["", _escaped(line)]
    return "\n".join(lines) + "\n"


def _bar(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    text = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]" else letter for letter in text)


def _csv(report: Mapping[str, Any]) -> str:
    rows = [_flat(row) for row in report["results"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    best = _row_of(report, report["recommended"])
    file = io.StringIO()
    writer = csv.DictWriter(file, [*names, "recommended"], lineterminator="\n")
    writer.writeheader()
    for row, flat in zip(report["results"], rows):
        writer.writerow({**flat, "recommended": row is best})
    return file.getvalue()


def _flat(row: _Row, prefix: str = "") -> dict[str, Any]:
    """Return a row without nested objects: "latency_ms" with "p50" becomes "latency_ms_p50"."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}_")
        elif name == "top1_interval":
            flat |= dict(zip(("top1_low", "top1_high"), value or (None, None)))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _json(report: Mapping[str, Any]) -> str:
    return json.dumps(report, indent=2, ensure_ascii=False) + "\n"


_WRITERS = {".json": _json, ".csv": _csv, ".md": _markdown}
