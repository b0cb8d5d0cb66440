"""Text about int8 artifacts, which several verbs show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r2p_edge.cli.output import warn
from r2p_edge.errors import count_of
from r2p_edge.spec import ModelSpec

_FLAWS = {
    "missing": "of the list not in the folder",
    "foreign": "of classes that the model does not have",
    "unreadable": "left out as damaged",
}
_MEASURED = {"clips", "held_out", "top1", "fp32_top1", "agreement", "runtime"}


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
            f"on {count_of(found['clips'], 'clip')} {_which(found)}: top-1 {found['top1']:.1%} "
            f"(fp32 {found['fp32_top1']:.1%}), agrees on {found['agreement']:.1%}, {_speed(found)}"
        )
    return rows


def _speed(measured: Mapping[str, Any]) -> str:
    """Return how fast an int8 artifact is, or that a simulator does not show it."""
    if "speedup" not in measured:
        return (
            f"on {measured['runtime']}'s {measured.get('device', 'simulator')}, which has no speed"
        )
    return f"{measured['speedup']:g} times as fast on {measured['runtime']}"


def _which(measured: Mapping[str, Any]) -> str:
    """Return what is special of the clips that an accuracy was measured on."""
    if not measured["held_out"]:
        # Records had no more than `held_out` at first.
        how, known = "calibrated", measured.get("trained_on", 0)
        if not measured.get("calibrated_on", True):
            how = "trained"
        elif known:
            how = "calibrated and trained"
        some = f" ({known} trained on)" if 0 < known < measured["clips"] else ""
        return f"that it was {how} on{some}, so that others may come out worse"
    outside = measured.get("outside")
    if not outside:
        return "not calibrated on"
    if outside >= measured["clips"]:
        return "outside the list that it was calibrated on"
    return f"not calibrated on, {outside} of them outside the list"


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
