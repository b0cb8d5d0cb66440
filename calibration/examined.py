"""One model under evaluation: its answers to labelled videos, as rows of a table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.archive.listed import Listed
from r2p_edge.archive.results import Columns
from r2p_edge.archive.rows import (
    ArchiveRow,
    columns_of,
    failed_row,
    identity_of,
    ranked_column,
    video_row,
)
from r2p_edge.artifact.files import sha256_of_model
from r2p_edge.artifact.two_streams import models_of
from r2p_edge.calibration.matching import Video
from r2p_edge.errors import SpecError
from r2p_edge.prediction import Timing
from r2p_edge.predictor import Predictor
from r2p_edge.scores import require_scores
from r2p_edge.spec.class_names import class_finder
from r2p_edge.video.clip_reader import Clips

_TOP = 5  # classes in a row
_DIGITS = 3  # of milliseconds


def evaluation_columns(classes: int, *, streams: bool = False) -> Columns:
    """Return the columns of a table of evaluation: those of `columns_of`, with the truth.

    `rank` is the place of the true class among all, from 1 on, and `clip_ranks` that for each of
    several clips; `file` is the model's path, and `weights` the precision of its weights.

    Args:
        classes: number of the models' classes.
        streams: add `stream_ranks`, the ranks of the true class by the streams of a model of two,
            colours first.
    """
    columns = columns_of(min(_TOP, classes), 1)
    del columns["window"], columns["error"]
    begun: Columns = {"video": "text", "truth": "text", "rank": "whole"}
    more: Columns = {"views": "whole", "clip_ranks": "text", "inference_ms": "number"}
    more = {**more, "total_ms": "number", "file": "text", "weights": "text", "error": "text"}
    if streams:
        more = {"stream_ranks": "text", **more}
    return {**begun, **columns, **more}


class ExaminedModel:
    """One model, whose answers are written in the spelling that another has of its classes.

    Args:
        predictor: opened by the caller.
        labels: of the first model, whose classes the predictor must have too.

    Attributes:
        facts: what makes its answers what they are, by their names in messages.

    Raises:
        SpecError: the predictor has other classes, or values in place of classes.
        ModelError: it answers with features.
    """

    def __init__(self, predictor: Predictor, labels: Sequence[str]) -> None:
        self.predictor, self.spec = predictor, predictor.spec
        artifact = predictor.artifact
        require_scores(self.spec, artifact.path)
        if self.spec.output.kind == "values":
            raise SpecError(
                f"{artifact.path} gives values and no classes, so it has no accuracy; "
                "compare its numbers with compare, or measure them with Predictor.predict"
            )
        find = class_finder(self.spec.labels)
        # Models of different sources order and spell the same classes differently.
        indices = [index for label in labels if (index := find(label)) is not None]
        if not len(set(indices)) == len(labels) == len(self.spec.labels):
            raise SpecError(
                f"{artifact.path} has other classes than the first model; measure models "
                "of the same classes together"
            )
        self._index = dict(zip(labels, indices))
        self._label = {self.spec.labels[index]: label for label, index in self._index.items()}
        digests = [sha256_of_model(each.path) for each in models_of(artifact)]
        self._identity = identity_of(predictor, "+".join(digests))
        self.facts = {"contract": self.spec.contract_digest(), **self._identity}

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes in the order of the model's outputs, in the spelling of the first model."""
        return tuple(self._label[label] for label in self.spec.labels)

    @property
    def identity(self) -> dict[str, str]:
        """The file, what computed, and in which precision, for the report of `evaluate`."""
        return {
            "path": str(self.predictor.artifact.path),
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
            "weights": self.spec.precision,
        }

    def warmup(self) -> None:
        """Run the model once, so that the first video takes no longer than others."""
        self.predictor.warmup()

    def answer(self, video: Video, clips: Clips, spent: Timing) -> ArchiveRow:
        """Return the row of a video; `spent` is the time that its pixels took."""
        timing = dataclasses.replace(spent)
        scores, own = self.predictor.answered(clips.pixels, timing=timing)
        top = min(_TOP, len(self._label))
        row = video_row(_listed(video), clips, scores, self.predictor, top, self._identity)
        for rank in range(1, top + 1):
            name = ranked_column("label", rank)
            row[name] = self._label[str(row[name])]
        truth = self._index[video.label]
        row["rank"] = _rank(scores.mean(axis=0), truth)
        if len(scores) > 1:
            row["clip_ranks"] = " ".join(str(_rank(clip, truth)) for clip in scores)
        if own:
            ranks = (_rank(each.mean(axis=0), truth) for each in own.values())
            row["stream_ranks"] = " ".join(map(str, ranks))
        row["inference_ms"] = round(timing.inference, _DIGITS)
        row["total_ms"] = round(timing.total, _DIGITS)
        return {**row, **self._of_all(video), "views": len(scores)}

    def failed(self, video: Video, error: object) -> ArchiveRow:
        """Return the row of a video that cannot be read."""
        return {**failed_row(_listed(video), error, self._identity), **self._of_all(video)}

    def _of_all(self, video: Video) -> ArchiveRow:
        path = str(self.predictor.artifact.path)
        return {"truth": video.label, "file": path, "weights": self.spec.precision}


def _listed(video: Video) -> Listed:
    if video.part is None:
        return Listed(str(video.path))
    start, end = video.part
    return Listed(str(video.path), start, end if math.isfinite(end) else None)


def _rank(scores: npt.NDArray[Any], truth: int) -> int:
    """Return the place of the true class, from 1 on; ties are ordered as in `Prediction`."""
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    return int(np.flatnonzero(order == truth)[0]) + 1
