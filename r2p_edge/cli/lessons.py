"""Text about what a model was taught and trained on, which several verbs show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from r2p_edge.errors import count_of
from r2p_edge.spec import ModelSpec

METHODS = {"mean": "nearest class mean", "logistic": "logistic regression"}
"""Names of the methods that find a head, for people."""

_TESTED = {"videos", "top1", "top1_interval", "runtime"}


def lesson_rows(spec: ModelSpec) -> dict[str, str]:
    """Return how a model was taught or trained, and what was measured then, as named texts.

    Records that other tools wrote may have other fields, which only JSON shows.
    """
    rows = {}
    source = spec.source or {}
    if _has(training := source.get("training"), {"videos", "epoch"}):
        rows["trained"] = f"{count_of(training['videos'], 'video')}, epoch {training['epoch']}"
        if _has(held_out := training.get("held_out"), {"right", "total"}) and held_out["total"]:
            share = held_out["right"] / held_out["total"]
            rows["trained"] += f"; held out: {share:.1%} of {count_of(held_out['total'], 'video')}"
    if _has(head := source.get("head"), {"method", "videos"}):
        method = METHODS.get(head["method"], head["method"])
        rows["taught"] = f"{count_of(head['videos'], 'video')}, by {method}"
        if _has(found := head.get("left_out"), {"folds", "videos", "top1", "interval"}):
            rows["taught"] += f"; {left_out_text(found)}"
    if _has(accuracy := spec.accuracy, _TESTED):
        rows["measured"] = tested_text(accuracy)
    return rows


def left_out_text(found: Mapping[str, Any]) -> str:
    """Return how a head that was found without them answers videos: `left_out` of a lesson."""
    return f"cross-validated in {found['folds']} parts: {_right(found, found['interval'])}"


def tested_text(found: Mapping[str, Any]) -> str:
    """Return how a model that was taught answers videos of their own: its `accuracy`."""
    return f"{_right(found, found['top1_interval'])}, on {found['runtime']}"


def _right(found: Mapping[str, Any], interval: Sequence[float]) -> str:
    low, high = interval
    return (
        f"{found['top1']:.1%} of {count_of(found['videos'], 'video')} right "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )


def _has(record: Any, names: set[str]) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(record, Mapping) and record.keys() >= names
