"""Judgement of heads by clips that were left out when they were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from r2p_edge.teaching.fitting import STRENGTHS, Method, fit_head, unit_means
from r2p_edge.teaching.head import Reject

_FOLDS = 5
_ENOUGH = 1e-4  # in a gradient: the heads of folds are not kept
_MOST_SLOPE = 1e4
_DOUBT = 0.2  # of the probability that chance would give


@dataclass(frozen=True, eq=False)
class LeftOutAnswers:
    """Answers to videos by heads that were found without them, and without all of their groups.

    Attributes:
        strength: the strength with the lowest log loss, see `STRENGTHS`.
        logits: float64 (videos, views, classes).
        cosines: float64 (videos,), mean over the views of the cosine with the nearest class mean.
        folds: number of parts that were left out in turn.
    """

    strength: float
    logits: npt.NDArray[np.float64]
    cosines: npt.NDArray[np.float64]
    folds: int


def folds_of(targets: npt.NDArray[np.intp], groups: Sequence[str]) -> npt.NDArray[np.intp] | None:
    """Return the fold of each video, (videos,); None if a class has one group only.

    A group is in one fold, and whichever fold is left out, each class is in another one too.

    Args:
        targets: (videos,), index of each video's class.
        groups: the group of each video.
    """
    by_class: dict[int, dict[str, None]] = {}
    for target, group in zip(targets.tolist(), groups):
        by_class.setdefault(target, {})[group] = None
    if min(map(len, by_class.values())) < 2:
        return None
    most = max(map(len, by_class.values()))
    fold: dict[str, int] = {}
    for count in (min(_FOLDS, most), len(set(groups))):
        fold.clear()
        for members in by_class.values():
            for number, group in enumerate(sorted(members)):
                fold.setdefault(group, number % count if count <= _FOLDS else len(fold))
        # Groups that several classes share may lie together.
        if all(len({fold[group] for group in each}) > 1 for each in by_class.values()):
            break
    return np.array([fold[group] for group in groups])


def left_out_answers(
    features: npt.NDArray[np.floating],
    targets: npt.NDArray[np.intp],
    folds: npt.NDArray[np.intp],
    method: Method,
    strengths: Sequence[float] | None = None,
) -> LeftOutAnswers:
    """Leave each fold out in turn and answer its videos; choose the strength.

    Args:
        features: (videos, views, C).
        targets: (videos,), index of each video's class.
        folds: (videos,), see `folds_of`.
        method: see `Method`.
        strengths: to choose from; by default those of `STRENGTHS`.
    """
    videos, views, count = features.shape
    features = features.astype(np.float64)
    tried = tuple(strengths or STRENGTHS[method])
    logits = np.empty((len(tried), videos, views, int(targets.max()) + 1))
    cosines = np.empty(videos)
    for fold in np.unique(folds):
        out = folds == fold
        kept = features[~out].reshape(-1, count)
        classes = np.repeat(targets[~out], views)
        rows = features[out].reshape(-1, count)
        means = Reject(unit_means(kept, classes).astype(np.float32), 0.0, 0.0)
        cosines[out] = means.cosines(rows).reshape(-1, views).mean(axis=1)
        for number, strength in enumerate(tried):
            head = fit_head(kept, classes, method, strength, tolerance=_ENOUGH)
            logits[number, out] = head.logits(rows).reshape(int(out.sum()), views, -1)
    best = min(range(len(tried)), key=lambda number: log_loss(logits[number], targets))
    return LeftOutAnswers(tried[best], logits[best], cosines, len(np.unique(folds)))


def video_scores(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probabilities of videos, (videos, classes): the mean over their views.

    Args:
        logits: (videos, views, classes).
    """
    powers = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray((powers / powers.sum(axis=2, keepdims=True)).mean(axis=1))


def log_loss(logits: npt.NDArray[np.float64], targets: npt.NDArray[np.intp]) -> float:
    """Return the mean over the classes of -log p(class of the video)."""
    own = video_scores(logits)[np.arange(len(targets)), targets]
    counts = np.bincount(targets)
    return float((-np.log(np.maximum(own, 1e-12)) / counts[targets]).sum() / len(counts))


def doubtful(
    logits: npt.NDArray[np.float64], targets: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Return which videos have labels that nothing in the others speaks for, (videos,).

    Heads that were found without them give their class less than a fifth of what chance would. Of
    no class it is more than half, as such a class is hard and not wrong.

    Args:
        logits: (videos, views, classes), of videos that were left out.
        targets: (videos,).
    """
    own = video_scores(logits)[np.arange(len(targets)), targets]
    found = own < _DOUBT / logits.shape[2]
    shares = np.bincount(targets, found) / np.bincount(targets)
    return np.asarray(found & (shares <= 0.5)[targets])


def reject_rule(
    features: npt.NDArray[np.floating],
    targets: npt.NDArray[np.intp],
    left_out: LeftOutAnswers,
    share: float,
) -> Reject:
    """Return the rule by which this share of the videos that were left out is of no class.

    Args:
        features: (videos, views, C).
        targets: (videos,).
        left_out: the answers to them.
        share: above 0 and below 1.
    """
    rows = features.reshape(-1, features.shape[2]).astype(np.float64)
    means = unit_means(rows, np.repeat(targets, features.shape[1])).astype(np.float32)
    least, usual = np.quantile(left_out.cosines, (share, (1 + share) / 2))
    # A usual clip then has nine tenths of what its best class and "none of these" share.
    slope = min(np.log(9) / max(usual - least, 1e-9), _MOST_SLOPE)
    return Reject(means, float(least), float(slope))


def confused_pairs(
    truths: Sequence[str], answers: Sequence[str], most: int = 5
) -> list[tuple[str, str, int]]:
    """Return which class was answered as which other one, and how often; the most frequent first.

    Args:
        truths: the class of each video.
        answers: what it was answered.
        most: number of pairs to return.
    """
    pairs = Counter((t, a) for t, a in zip(truths, answers, strict=True) if t != a)
    return [(*pair, count) for pair, count in pairs.most_common(most)]
