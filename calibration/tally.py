"""The tally of one model's answers to the videos of a data set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.calibration.label_order import doubt_of
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import SpecError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.spec.class_names import class_finder

_PERCENTILES = (50, 90, 99)


class Tally:
    """One model, and its ranks and times of the videos answered so far.

    Args:
        predictor: opened by the caller.
        labels: of the first model, whose classes the predictor must have too.

    Raises:
        SpecError: the predictor has other classes, or values in place of classes.
    """

    def __init__(self, predictor: Predictor, labels: Sequence[str]) -> None:
        self.predictor, self.spec = predictor, predictor.spec
        if self.spec.output.kind == "values":
            raise SpecError(
                f"{predictor.artifact.path} gives values and no classes, so it has no accuracy; "
                "compare its numbers with compare, or measure them with Predictor.predict"
            )
        find = class_finder(self.spec.labels)
        # Models of different sources order and spell the same classes differently.
        indices = [index for label in labels if (index := find(label)) is not None]
        if not len(set(indices)) == len(labels) == len(self.spec.labels):
            raise SpecError(
                f"{predictor.artifact.path} has other classes than the first model; measure models "
                "of the same classes together"
            )
        self._index = dict(zip(labels, indices))
        self._label = {index: label for label, index in self._index.items()}
        self._truths: list[str] = []
        self._labels: list[str] = []
        self._ranks: list[int] = []
        self._clip_ranks: list[int] = []
        self._inference: list[float] = []
        self._total: list[float] = []

    def answer(self, video: Video, pixels: npt.NDArray[np.uint8], spent: Timing) -> None:
        """Answer one video; `spent` is the time that its pixels took."""
        timing = dataclasses.replace(spent)
        scores = self.predictor.scores(pixels, timing=timing)
        # In Prediction's dtype, so that ties fall as in predict.
        mean = scores.mean(axis=0).astype(np.float32)
        truth = self._index[video.label]
        self._truths.append(video.label)
        self._labels.append(self._label[int(mean.argmax())])
        self._ranks.append(_rank(mean, truth))
        self._clip_ranks.extend(_rank(clip, truth) for clip in scores)
        self._inference.append(timing.inference)
        self._total.append(timing.total)

    def result(self, reference: Tally, per_class: bool) -> dict[str, Any]:
        """Return the model's part of the report of `evaluate`; `reference` is the first model's."""
        ranks, clip_ranks = np.array(self._ranks), np.array(self._clip_ranks)
        result: dict[str, Any] = {
            "path": str(self.predictor.artifact.path),
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
            "weights": self.spec.precision,
        }
        for name, depth in (("top1", 1), ("top5", 5)):
            right = int((ranks < depth).sum())
            result[name] = right / len(ranks)
            result[f"{name}_interval"] = wilson_interval(right, len(ranks))
            result[f"clip_{name}"] = float((clip_ranks < depth).mean())
        pairs = zip(self._labels, reference._labels)
        result["agreement"] = float(np.mean([mine == other for mine, other in pairs]))
        result["latency_ms"] = {
            "inference": _percentiles(self._inference),
            "total": _percentiles(self._total),
        }
        doubt = doubt_of(
            self._truths, self._labels, [name for _, name in sorted(self._label.items())]
        )
        result["warnings"] = [] if doubt is None else [doubt]
        if per_class:
            result["per_class"] = self._per_class()
        return result

    def _per_class(self) -> list[dict[str, Any]]:
        right: dict[str, list[bool]] = {}
        for truth, rank in zip(self._truths, self._ranks):
            right.setdefault(truth, []).append(rank == 0)
        return [
            {"label": label, "videos": len(right[label]), "top1": float(np.mean(right[label]))}
            for label in self._index
            if label in right
        ]


def _rank(scores: npt.NDArray[Any], truth: int) -> int:
    """Return the number of classes before the true one; ties are ordered as in `Prediction`."""
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    return int(np.flatnonzero(order == truth)[0])


def _percentiles(milliseconds: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(milliseconds, q)), 2) for q in _PERCENTILES}


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
