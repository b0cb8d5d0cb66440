"""The settings of a fine-tuning."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2p_edge.errors import UsageError
from r2p_edge.training.network import SECTIONS


def check_settings(
    recipe: object, least: Mapping[str, int], positive: Sequence[str], shares: Sequence[str]
) -> None:
    """Check the numbers of a training.

    Args:
        recipe: has them as attributes.
        least: the smallest number that each of these may be.
        positive: names of those above 0.
        shares: names of those from 0 to below 1.

    Raises:
        UsageError: one is impossible.
    """
    for name, bound in least.items():
        if getattr(recipe, name) < bound:
            raise UsageError(f"{name} is {getattr(recipe, name)}; it must be {bound} or more")
    for name in positive:
        if not 0 < getattr(recipe, name) < math.inf:
            raise UsageError(f"{name} is {getattr(recipe, name)}; it must be more than 0")
    for name in shares:
        if not 0 <= getattr(recipe, name) < 1:
            raise UsageError(f"{name} is {getattr(recipe, name)}; it must be from 0 to below 1")


@dataclass(frozen=True)
class Recipe:
    """Settings of a fine-tuning; the defaults are for 10 to 100 clips of each class.

    Attributes:
        first: lowest section that is trained; what lies below stays as it is.
        epochs: most passes over the videos; 0 trains the classifier alone.
        batch: clips of a step.
        views: views of each video, of which each epoch takes one.
        rate: learning rate of the classifier.
        backbone: that of the highest other section, as a share of `rate`.
        decay: that of each section below, as a share of the one above.
        weight_decay: AdamW's.
        dropout: share of the features that are set to zero before the classifier.
        patience: epochs without a better loss on the held-out videos, after which it ends.
        held_out: share of the groups of videos that the loss is judged by.
        flip: mirror half of the views. Only where left and right mean the same.
        teacher_share: weight of a teacher's soft labels in the loss.
        temperature: by which they are softened.
        quantisation_aware: train with the rounding of int8 in the trained sections.
        seed: of everything random.

    Raises:
        UsageError: a number is impossible.
    """

    first: str = "layer4"
    epochs: int = 20
    batch: int = 16
    views: int = 4
    rate: float = 1e-3
    backbone: float = 0.3
    decay: float = 0.3
    weight_decay: float = 0.01
    dropout: float = 0.5
    patience: int = 10
    held_out: float = 0.2
    flip: bool = False
    teacher_share: float = 0.5
    temperature: float = 2.0
    quantisation_aware: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.first not in SECTIONS:
            raise UsageError(f"first is {self.first!r}; choose one of {', '.join(SECTIONS)}")
        check_settings(
            self,
            least={"epochs": 0, "batch": 1, "views": 1, "patience": 1, "seed": 0},
            positive=("rate", "backbone", "decay", "temperature"),
            shares=("held_out", "dropout", "teacher_share", "weight_decay"),
        )

    @property
    def lower(self) -> tuple[str, ...]:
        """The sections that stay as they are."""
        return SECTIONS[: SECTIONS.index(self.first)]

    @property
    def upper(self) -> tuple[str, ...]:
        """The sections that are trained."""
        return SECTIONS[SECTIONS.index(self.first) :]

    def rates(self) -> dict[str, float]:
        """Return the learning rate of each trained section."""
        below = {
            section: self.rate * self.backbone * self.decay**steps
            for steps, section in enumerate(reversed(self.upper[:-1]))
        }
        return {**below, self.upper[-1]: self.rate}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return dataclasses.asdict(self)
