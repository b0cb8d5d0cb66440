"""Agreement of two models' outputs, and the tolerance that each precision is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from r2p_edge.errors import ParityError, count_of

TOLERANCE: dict[str, tuple[str, float]] = {
    "fp32": ("max_rel", 1e-4),
    "fp16": ("cosine", 0.999),
    "bf16": ("cosine", 0.999),
}
"""Figure of `Agreement` that decides for each precision, and its limit: the largest `max_rel`, or
the smallest `cosine`. INT8 has none: it is reported and never refused."""

_SOURCES = {"numpy": "its checkpoint, computed in NumPy", "onnx": "its ONNX file"}


@dataclass(frozen=True)
class Agreement:
    """Figures of how two models' outputs for the same clips differ.

    Attributes:
        max_abs: largest absolute difference of two logits.
        max_rel: `max_abs` divided by the largest absolute logit of the reference.
        cosine: cosine of the angle between the two outputs of a clip, for the worst clip. A
            single output has no angle; in its place stands 1 - `max_rel` / 10.
        top1: share of the clips for which both models have the same best class.
        clips: number of clips compared.
    """

    max_abs: float
    max_rel: float
    cosine: float
    top1: float
    clips: int


def agreement(reference: np.ndarray, other: np.ndarray) -> Agreement:
    """Compare two models' outputs for the same clips.

    Args:
        reference: (N, classes), any real dtype; the figures are computed in float64.
        other: outputs of the same shape.

    Raises:
        ParityError: the shapes differ or are not (N, classes) with N > 0, a number is NaN or
            infinite, or a clip's outputs in the reference are all zero.
    """
    reference = np.asarray(reference, dtype=np.float64)
    other = np.asarray(other, dtype=np.float64)
    if reference.shape != other.shape or reference.ndim != 2 or reference.size == 0:
        raise ParityError(
            f"outputs of shape {other.shape} cannot be compared with a reference of shape "
            f"{reference.shape}; both must be the same (clips, classes)"
        )
    for name, outputs in (("the reference", reference), ("the compared model", other)):
        broken = np.count_nonzero(~np.isfinite(outputs))
        if broken:
            raise ParityError(
                f"{broken} of {outputs.size} outputs of {name} are NaN or infinite; "
                "look for overflow or broken weights in it"
            )
    lengths = np.linalg.norm(reference, axis=1)
    if not lengths.all():
        raise ParityError(
            "every output of the reference is zero for a clip, so no relative difference can be "
            "computed; compare on other clips"
        )
    max_abs = float(np.abs(other - reference).max())
    # A vector of zeros points nowhere: its cosine is 0, not 0/0.
    others = np.linalg.norm(other, axis=1)
    cosines = (reference * other).sum(axis=1) / (lengths * np.where(others == 0, 1, others))
    max_rel = max_abs / float(np.abs(reference).max())
    if reference.shape[1] == 1:
        cosines = np.array([1 - max_rel / 10])
    return Agreement(
        max_abs=max_abs,
        max_rel=max_rel,
        cosine=float(np.clip(cosines, -1, 1).min()),
        top1=float((reference.argmax(axis=1) == other.argmax(axis=1)).mean()),
        clips=len(reference),
    )


def within_tolerance(found: Agreement, precision: str) -> bool:
    """Return whether an agreement is within the tolerance of this precision."""
    if precision not in TOLERANCE:
        return True
    figure, limit = TOLERANCE[precision]
    value = float(getattr(found, figure))
    return value <= limit if figure == "max_rel" else value >= limit


def parity_text(record: Mapping[str, Any] | None) -> str:
    """Return how closely an artifact that was made here answers as its source, for people.

    Args:
        record: the `parity` of its spec; None where nothing here runs it.
    """
    if record is None:
        return "not verified: this machine cannot run it"
    figures = (
        f"outputs differ by at most {record['max_rel']:.1e} of the largest one, best class equal "
        f"on {record['top1']:.0%} of {count_of(record['clips'], 'clip')}"
    )
    reference = record["reference"]
    if "of" not in record:
        return f"verified against {_SOURCES.get(reference, reference)}: {figures}"
    # Of the rest of the model the figures say nothing.
    parent = record.get("parent")
    known = isinstance(parent, Mapping) and is_parity_record(parent)
    return (
        f"{record['of']}, verified against {'NumPy' if reference == 'numpy' else reference}: "
        f"{figures}; the parent: "
        f"{parity_text(parent) if known else 'not compared with its source'}"
    )


def is_parity_record(record: Mapping[str, Any]) -> bool:
    """Return whether a record has what `parity_text` tells; those of other tools may not."""
    return record.keys() >= {"reference", "max_rel", "top1", "clips"}
