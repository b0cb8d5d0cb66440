"""The answers of one model, as a report is about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from r2p_edge.calibration.answered import AnsweredVideo
from r2p_edge.calibration.tally import Tally, figures_of
from r2p_edge.spec import ModelSpec


@dataclass(frozen=True)
class ModelAnswers:
    """The answers of one model that was run in one way.

    Attributes:
        identity: its file or, where that is not known, the results and its digest as "path"; and
            "runtime", "device", "precision" and "weights", the last of which may be None.
        views: clips of each video.
        labels: its classes in the order of its outputs; where they are not known, those that
            occur.
        spec: its contract; None where its file is not there.
        answers: those to all videos.
    """

    identity: Mapping[str, Any]
    views: int
    labels: tuple[str, ...]
    spec: ModelSpec | None
    answers: Sequence[AnsweredVideo]

    @cached_property
    def tally(self) -> Tally:
        """The figures of the videos whose class is known."""
        return Tally(self.answers, self.labels)

    @property
    def answered(self) -> list[AnsweredVideo]:
        """The videos that have an answer."""
        return [each for each in self.answers if each.error is None]

    @property
    def failed(self) -> list[AnsweredVideo]:
        """The videos that have none."""
        return [each for each in self.answers if each.error is not None]

    def figures(self, reference: ModelAnswers, *, per_class: bool = False) -> dict[str, Any]:
        """Return what `evaluate` reports of a model; only its names where no class is known."""
        if not self.tally.counted:
            return dict(self.identity)
        figures = figures_of(self.tally, reference.tally, per_class=per_class)
        return {**self.identity, **figures}
