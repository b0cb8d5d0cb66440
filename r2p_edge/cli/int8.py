"""Text about int8 artifacts, which several verbs show."""

from __future__ import annotations

from pathlib import Path

from r2p_edge.cli.output import warn
from r2p_edge.errors import count_of
from r2p_edge.spec import ModelSpec

_FLAWS = {
    "missing": "of the list not in the folder",
    "foreign": "of classes that the model does not have",
    "unreadable": "left out as damaged",
}
_MEASURED = {"clips", "held_out", "top1", "fp32_top1", "agreement", "speedup", "runtime"}


def int8_rows(spec: ModelSpec) -> dict[str, str]:
    """Return the clips that an int8 artifact was calibrated on and its accuracy, as named texts.

    Records that other tools wrote may have other fields, which only JSON shows.
    """
    rows = {}
    found = spec.calibration or {}
    if found.keys() >= {"method", "clips"}:
        text = f"{found['method']}, {count_of(found['clips'], 'clip')}"
        if "classes_covered" in found:
            text += f" of {found['classes_covered']} of {found['classes']} classes"
        for flaw, words in _FLAWS.items():
            if found.get(flaw):
                text += f", {count_of(found[flaw], 'video')} {words}"
        if found.get("float_layers"):
            text += f"; left float: {', '.join(found['float_layers'])}"
        rows["int8"] = text
    found = spec.accuracy or {}
    if found.keys() >= _MEASURED:
        rows["measured"] = (
            f"on {found['clips']} clips {'not ' if found['held_out'] else ''}calibrated on: top-1 "
            f"{found['top1']:.1%} (fp32 {found['fp32_top1']:.1%}), agrees on "
            f"{found['agreement']:.1%}, {found['speedup']:g} times as fast on {found['runtime']}"
        )
    return rows


def print_int8_rows(spec: ModelSpec) -> None:
    """Print `int8_rows` below the line of an artifact."""
    for name, text in int8_rows(spec).items():
        print(f"  {name}: {text}")


def warn_of_int8(path: Path, spec: ModelSpec) -> None:
    """Warn on stderr if an int8 artifact is not recommended, or its labels are doubtful."""
    from r2p_edge.calibration.calibrate import warning_of

    if (warning := warning_of(spec)) is not None:
        warn(f"{path}: {warning}")
    if isinstance(doubt := (spec.accuracy or {}).get("doubt"), str):
        warn(f"{path}: {doubt}")
