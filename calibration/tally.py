"""Figures of a model's answers to videos whose classes are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.label_order import doubt_of

PERCENTILES = (50, 90, 99)
"""Percentiles of the times."""

SCORE_BINS = 15
"""Bins of scores, the number of the paper that `Tally.reliability` names."""


@dataclass(frozen=True)
class ClassShare:
    """The answers to the videos of one class.

    Attributes:
        label: the class.
        videos: their number.
        right: number of those that were answered rightly.
        instead: the class that most others were answered as, and their number; None if all are
            right.
    """

    label: str
    videos: int
    right: int
    instead: tuple[str, int] | None

    @property
    def share(self) -> float:
        """Top-1 accuracy of the class."""
        return self.right / self.videos


@dataclass(frozen=True)
class ScoreBin:
    """The answers whose scores are above `low` and not above `high`.

    Attributes:
        videos, right: number of all of them, and of the right ones.
        score: their mean score; nan if there are none.
    """

    low: float
    high: float
    videos: int
    right: int
    score: float


class Tally:
    """The answers of one model.

    Args:
        answers: those to all videos; those without a truth or an answer do not count.
        labels: the model's classes in the order of its outputs.

    Attributes:
        counted: the answers that count.
        labels: the model's classes.
    """

    def __init__(self, answers: Sequence[AnsweredVideo], labels: Sequence[str]) -> None:
        self.counted = [each for each in answers if each.error is None and each.truth is not None]
        self.labels = tuple(labels)

    def right(self, depth: int = 1) -> int | None:
        """Return the number of videos whose class is among so many best; None if it is not known.

        It is not where neither the true class's rank nor as many classes are known of a video.
        """
        if depth == 1:
            return sum(each.right for each in self.counted)
        depth = min(depth, len(self.labels))
        known = [each.rank is not None or len(each.top) >= depth for each in self.counted]
        if not all(known):
            return None
        return sum(each.rank is not None and each.rank <= depth for each in self.counted)

    def clips_right(self, depth: int) -> float | None:
        """Return the share of single clips whose class is among so many best; None if unknown."""
        ranks: list[int] = []
        for each in self.counted:
            alone = (each.rank,) if each.views == 1 and each.rank is not None else ()
            own = each.clip_ranks or alone
            if not own:
                return None
            ranks.extend(own)
        return float(np.mean([rank <= depth for rank in ranks]))

    def of_streams(self) -> list[int] | None:
        """Return the number of videos that each of two streams answers rightly; None if unknown.

        The first is that of colours, the second that of flow.
        """
        ranks = [each.stream_ranks for each in self.counted]
        if not all(ranks):
            return None
        return [sum(rank == 1 for rank in of_stream) for of_stream in zip(*ranks)]

    def agreement(self, other: Tally) -> float | None:
        """Return the share of the videos of both that have the same answer; None if there is none.

        Args:
            other: of a model with the same spelling of its classes.
        """
        answers = {(each.video, each.part): each.label for each in other.counted}
        both = [each for each in self.counted if (each.video, each.part) in answers]
        same = [each.label == answers[each.video, each.part] for each in both]
        return float(np.mean(same)) if same else None

    def latency_ms(self) -> dict[str, dict[str, float]] | None:
        """Return the percentiles of the milliseconds for each video; None if they are unknown."""
        known = [
            (each.inference_ms, each.total_ms)
            for each in self.counted
            if each.inference_ms is not None and each.total_ms is not None
        ]
        if len(known) < len(self.counted) or not known:
            return None
        return {
            name: {f"p{q}": round(float(np.percentile(times, q)), 2) for q in PERCENTILES}
            for name, times in zip(("inference", "total"), zip(*known))
        }

    @cached_property
    def doubt(self) -> str | None:
        """Why the labels are doubtful, or the answers no better than chance; see `doubt_of`."""
        return doubt_of(
            [str(each.truth) for each in self.counted],
            [each.label for each in self.counted],
            self.labels,
        )

    @cached_property
    def classes(self) -> list[ClassShare]:
        """The classes that videos have, in the order of the model's outputs."""
        answers: dict[str, Counter[str]] = {}
        for each in self.counted:
            answers.setdefault(str(each.truth), Counter())[each.label] += 1
        found = []
        for label in filter(answers.__contains__, self.labels):
            given = answers[label]
            wrong = [each for each in given.most_common() if each[0] != label]
            found.append(
                ClassShare(label, given.total(), given[label], wrong[0] if wrong else None)
            )
        return found

    def confusion(self) -> tuple[list[str], npt.NDArray[np.int64]]:
        """Return the classes that occur, and how many videos of each were answered as each.

        Returns:
            The labels, and int64 (labels, labels), whose rows are the true classes.
        """
        occurring = {each.truth for each in self.counted} | {each.label for each in self.counted}
        labels = [label for label in self.labels if label in occurring]
        place = {label: number for number, label in enumerate(labels)}
        matrix = np.zeros((len(labels), len(labels)), np.int64)
        for each in self.counted:
            matrix[place[str(each.truth)], place[each.label]] += 1
        return labels, matrix

    @cached_property
    def reliability(self) -> list[ScoreBin]:
        """The answers by their score, in bins of equal width.

        C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks",
        ICML 2017, section 2.
        """
        scores = np.array([each.score for each in self.counted])
        right = np.array([each.right for each in self.counted], dtype=bool)
        bins = np.clip(np.ceil(scores * SCORE_BINS).astype(int) - 1, 0, SCORE_BINS - 1)
        found = []
        for number in range(SCORE_BINS):
            own = bins == number
            mean = float(scores[own].mean()) if own.any() else math.nan
            low, high = number / SCORE_BINS, (number + 1) / SCORE_BINS
            found.append(ScoreBin(low, high, int(own.sum()), int(right[own].sum()), mean))
        return found

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (ECE): the mean distance of score and accuracy of the bins."""
        filled = [each for each in self.reliability if each.videos]
        return sum(abs(e.right - e.videos * e.score) for e in filled) / len(self.counted)


def figures_of(tally: Tally, reference: Tally, *, per_class: bool) -> dict[str, Any]:
    """Return the figures of a model for the report of `evaluate`; None for what is not known.

    Args:
        tally: of at least one video.
        reference: of the model that it is compared with.
        per_class: those of each class too.
    """
    total = len(tally.counted)
    figures: dict[str, Any] = {}
    for name, depth in (("top1", 1), ("top5", 5)):
        right = tally.right(depth)
        figures[name] = None if right is None else right / total
        figures[f"{name}_interval"] = None if right is None else wilson_interval(right, total)
        figures[f"clip_{name}"] = tally.clips_right(depth)
    if (streams := tally.of_streams()) is not None:
        figures["streams"] = {
            name: {"top1": right / total, "top1_interval": wilson_interval(right, total)}
            for name, right in zip(("rgb", "flow"), streams)
        }
    figures |= {"agreement": tally.agreement(reference), "ece": tally.calibration_error}
    figures["latency_ms"] = tally.latency_ms()
    figures["warnings"] = [] if tally.doubt is None else [tally.doubt]
    if per_class:
        figures["per_class"] = [
            {
                "label": each.label,
                "videos": each.videos,
                "top1": each.share,
                "top1_interval": wilson_interval(each.right, each.videos),
                "instead": each.instead and each.instead[0],
            }
            for each in tally.classes
        ]
    return figures


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share of which `right` of `total` were seen.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22 (1927), 209-212. Unlike the textbook's share plus or
    minus 1.96 standard errors it is right near 0 and 1 and for few videos.
    """
    z = NormalDist().inv_cdf(0.975)
    share = right / total
    centre = share + z**2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    scale = 1 + z**2 / total
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)
