"""The per-frame form of an artifact as the command line shows it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from r2p_edge.spec import ModelSpec
from r2p_edge.spec.checks import is_number
from r2p_edge.spec.per_frame import PER_FRAME

_BYTES = {"float32": 4, "float16": 2, "uint8": 1, "int8": 1}
_BORDERS = ("flush", "wait")


def per_frame_rows(spec: ModelSpec) -> dict[str, str]:
    """Return the artifact's form with state, its parts and how often it agrees with its clips."""
    form = spec.per_frame
    if form is None:
        return {}
    size = sum(prod(ring.shape) * ring.kept * _BYTES[ring.dtype] for ring in form.rings)
    late = f"{form.wait * spec.clip.tick:.2g} s" if form.wait else "not"
    where = " where it waits" if form.form == PER_FRAME else ""
    rows = {
        "form": f"{form.form}, stages to {form.stages}, {late} late{where}, "
        f"{size / 1e6:.1f} MB of state per camera at most",
        "parts": ", ".join(part.file for part in form.parts.values()),
    }
    if agrees := _agreement_text(form.agreement):
        rows["agrees"] = agrees
    return rows


def _agreement_text(record: Mapping[str, Any] | None) -> str:
    """Return the shares of windows with the clip's best class; "" for another tool's record."""
    found = []
    for border in _BORDERS:
        match (record or {}).get(border):
            case {"windows": int(windows), "agree": int(agree), "interval": [low, high]} if all(
                map(is_number, (low, high))
            ):
                name = "" if record and _BORDERS[0] not in record else f"{border} "
                found.append(f"{name}{agree} of {windows} windows ({low:.1%} to {high:.1%})")
    on = (record or {}).get("on")
    return "; ".join(found) + (f", on {on}" if found and on else "")
