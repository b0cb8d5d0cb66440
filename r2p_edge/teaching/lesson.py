"""A lesson: the head that is found for features, and what videos that were left out say of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.teaching.feature_file import FeatureSet
from r2p_edge.teaching.fitting import DEFAULT_STRENGTH, Method, fit_head, method_for
from r2p_edge.teaching.head import NONE_OF_THESE, TaughtHead
from r2p_edge.teaching.judging import (
    confused_pairs,
    doubtful,
    folds_of,
    left_out_answers,
    reject_rule,
    video_scores,
)

_TO_NEW = 0.95  # share of the left-out videos that new classes answer where old ones are kept


@dataclass(frozen=True, eq=False)
class Lesson:
    """A head, and how it was found.

    Attributes:
        head: the head.
        method, strength: see `fit_head`.
        left_out: {"videos", "groups", "folds", "right", "top1", "interval", "confused",
            "doubtful"} of the answers to videos that were left out, and "rejected", the share of
            them, or "to_old"; None where a class has too few to leave one out. "doubtful" are the
            names of videos that logistic regression was found without, see `judging.doubtful`.
    """

    head: TaughtHead
    method: Method
    strength: float
    left_out: dict[str, Any] | None

    def record(self, taught: FeatureSet, kept: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return how the head was found, as the contract records it.

        Args:
            taught: the videos.
            kept: source of the contract whose classes are kept; None for none.
        """
        from r2p_edge.calibration.learnt import learnt_record

        lines = sorted(f"{video['sha256']} {video['label']}" for video in taught.videos)
        found: dict[str, Any] = {
            "method": self.method,
            "strength": self.strength,
            "videos": len(taught.videos),
            "videos_sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            **learnt_record((video["sha256"] for video in taught.videos), kept),
            "views": taught.features.shape[1],
            "left_out": self.left_out,
        }
        if self.head.reject is not None:
            found["reject"] = {"label": NONE_OF_THESE, "cosine": self.head.reject.cosine}
        return found


def learn(
    taught: FeatureSet, method: Method | None, reject: float | None, old: TaughtHead | None
) -> Lesson:
    """Find the head for features.

    Args:
        taught: features of videos; at least one of each class, two for `reject`.
        method, reject: see `teach`.
        old: head whose classes are kept; None for none.
    """
    from r2p_edge.calibration.tally import wilson_interval

    features, targets = taught.features, taught.targets
    videos, views, count = features.shape
    method = method or method_for(targets)
    folds = folds_of(targets, taught.groups)
    rows = features.reshape(-1, count).astype(np.float64)
    classes = np.repeat(targets, views)
    if folds is None:
        strength = DEFAULT_STRENGTH[method]
        head = fit_head(rows, classes, method, strength)
        if old is not None:
            logits = head.logits(rows).reshape(videos, views, -1)
            head = _beside(old, head, _shift(_old_logits(old, features), logits))
        return Lesson(head, method, strength, None)
    left_out = left_out_answers(features, targets, folds, method)
    logits, labels = left_out.logits, taught.labels
    kept = np.ones(videos, bool)
    if method == "logistic":
        kept = ~doubtful(logits, targets)
    shown = np.repeat(kept, views)
    head = fit_head(rows[shown], classes[shown], method, left_out.strength)
    extra: dict[str, Any] = {}
    if old is not None:
        former = _old_logits(old, features)
        shift = _shift(former, logits)
        head = _beside(old, head, shift)
        logits = np.concatenate([logits + shift, former], axis=2)
        to_old = video_scores(logits).argmax(axis=1) >= len(labels)
        extra["to_old"] = round(float(to_old.mean()), 4)
    answers = video_scores(logits).argmax(axis=1)
    if reject is not None:
        rule = reject_rule(features[kept], targets[kept], left_out, reject)
        head = TaughtHead(head.weight, head.bias, rule)
        rejected = left_out.cosines < rule.cosine
        answers = np.where(rejected, len(labels), answers)
        extra["rejected"] = round(float(rejected.mean()), 4)
    names = (*labels, NONE_OF_THESE if old is None else "a class of before")
    answered = [names[min(int(answer), len(labels))] for answer in answers]
    truths = [labels[target] for target in targets]
    right = sum(t == a for t, a in zip(truths, answered))
    low, high = wilson_interval(right, videos)
    judged = {
        "videos": videos,
        "groups": len(set(taught.groups)),
        "folds": left_out.folds,
        "right": right,
        "top1": round(right / videos, 4),
        "interval": [round(low, 4), round(high, 4)],
        "confused": [list(pair) for pair in confused_pairs(truths, answered)],
        "doubtful": [taught.videos[n]["name"] for n in np.flatnonzero(~kept)],
        **extra,
    }
    return Lesson(head, method, left_out.strength, judged)


def _old_logits(old: TaughtHead, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    videos, views, count = features.shape
    return old.logits(features.reshape(-1, count)).reshape(videos, views, -1)


def _shift(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    """Return what to add to the scores of new classes, so that they answer most of their videos.

    There are no videos of the old classes to balance them by, so it is no more than that needs.
    """
    behind = (old.max(axis=2) - new.max(axis=2)).mean(axis=1)
    return float(np.quantile(behind, _TO_NEW))


def _beside(old: TaughtHead, new: TaughtHead, shift: float) -> TaughtHead:
    return TaughtHead(
        np.concatenate([old.weight, new.weight]),
        np.concatenate([old.bias, new.bias + np.float32(shift)]),
    )
