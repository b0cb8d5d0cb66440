"""Rules of events: which label must score how much, and for how long."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from r2p_edge.errors import UsageError, similar_name
from r2p_edge.live.arguments import check_number

HYSTERESIS = 0.1
"""By how much a score must fall below its threshold to end an event, by default."""

_RULE = re.compile(r"(?:(?P<name>[\w.-]+)=)?(?P<label>.+)>(?P<threshold>[^>]+)")


@dataclass(frozen=True)
class EventRule:
    """A rule by which events begin and end.

    Attributes:
        label: class of the model.
        threshold: score of the label above which an event begins.
        name: name of the rule; by default the label.
        min_length: seconds for which the label must stay, from the end of the first window that
            shows it to the end of the newest. An event that is shorter is none.
        cool_down: seconds after the end of an event in which no other begins.
        hysteresis: an event ends where the score falls below the threshold by this.

    Raises:
        UsageError: a number is out of its range.
    """

    label: str
    threshold: float
    name: str = ""
    min_length: float = 0.0
    cool_down: float = 0.0
    hysteresis: float = HYSTERESIS

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.label)
        check_number("the score of an event", self.threshold, math.isfinite, "a number")
        for option in ("min_length", "cool_down", "hysteresis"):
            value = getattr(self, option)
            check_number(option, value, lambda x: 0 <= x < math.inf, "a number from 0 on")


def parse_rule(
    text: str,
    *,
    min_length: float = 0.0,
    cool_down: float = 0.0,
    hysteresis: float = HYSTERESIS,
    name: str = "",
) -> EventRule:
    """Return the rule of a text such as "fall>0.8" or "alarm=fall>0.8".

    Args:
        min_length, cool_down, hysteresis: see `EventRule`, also for the errors.
        name: name of the rule where the text has none.

    Raises:
        UsageError: it is no such text.
    """
    found = _RULE.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError(text)
        threshold = float(found["threshold"])
    except ValueError:
        raise UsageError(
            f"{text!r} is no event; expected a label and the score that it must exceed, such as "
            "'fall>0.8', in quotes"
        ) from None
    return EventRule(
        found["label"].strip(),
        threshold,
        found["name"] or name,
        min_length,
        cool_down,
        hysteresis,
    )


def check_rules(rules: Sequence[EventRule], labels: Sequence[str], *, classes: bool) -> None:
    """Check rules against the model whose scores they are about.

    Args:
        rules: the rules.
        labels: classes of the model.
        classes: its scores are probabilities.

    Raises:
        UsageError: a label is unknown, two rules have one name, no score can exceed one, or
            none can fall below where its event ends.
    """
    names: set[str] = set()
    for rule in rules:
        if rule.label not in labels:
            raise UsageError(
                f"there is no label {rule.label!r} in the model; "
                f"{similar_name(rule.label, labels)}r2p-edge info MODEL lists its {len(labels)}"
            )
        if rule.name in names:
            raise UsageError(
                f"two events are named {rule.name!r}; give one another name, such as "
                f"'{rule.name}2={rule.label}>{rule.threshold:g}'"
            )
        if classes and not 0 <= rule.threshold < 1:
            raise UsageError(
                f"the event {rule.name!r} needs a score above {rule.threshold:g}; scores are "
                "probabilities, so give a number from 0 to below 1"
            )
        if classes and rule.threshold - rule.hysteresis <= 0:
            raise UsageError(
                f"the event {rule.name!r} would begin above {rule.threshold:g} and never end, with "
                f"a hysteresis of {rule.hysteresis:g}; give a smaller one (--event-hysteresis, "
                "hysteresis)"
            )
        names.add(rule.name)
