"""Numbers for Prometheus, in its text format.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import itertools
import math
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds for a histogram of seconds."""


class _Family:
    """Numbers of one name, one for each combination of the labels' values.

    Args:
        name: its name, in base units, such as "r2p_lag_seconds".
        text: sentence about it.
        labels: names of its labels.
    """

    kind = ""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name, self._text, self._labels = name, text, tuple(labels)
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        """Return its lines of the text."""
        text = self._text.replace("\\", r"\\").replace("\n", r"\n")
        with self._lock:
            samples = list(self._samples())
        return [f"# HELP {self.name} {text}", f"# TYPE {self.name} {self.kind}", *samples]

    def _samples(self) -> Iterator[str]:
        raise NotImplementedError

    def _line(self, values: Sequence[str], number: float, suffix: str = "", **more: str) -> str:
        pairs = [*zip(self._labels, values), *more.items()]
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
        shown = "+Inf" if number == math.inf else repr(float(number))
        return f"{self.name}{suffix}{f'{{{labels}}}' if labels else ''} {shown}"

    def _key(self, values: Sequence[str]) -> tuple[str, ...]:
        if len(values) != len(self._labels):
            raise ValueError(f"{self.name} has the labels {self._labels}, not {values}")
        return tuple(values)


class _Numbers(_Family):
    """A family with a single number for each combination."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def _samples(self) -> Iterator[str]:
        for values, number in self._values.items():
            yield self._line(values, number)


class Counter(_Numbers):
    """A number that only grows; its name ends in "_total"."""

    kind = "counter"

    def add(self, number: float, *labels: str) -> None:
        """Add a number, which is at least 0; `labels` are the value of each label."""
        key = self._key(labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0) + number

    def reach(self, number: float, *labels: str) -> None:
        """Let it grow to a number that is counted elsewhere; a smaller one changes nothing."""
        key = self._key(labels)
        with self._lock:
            self._values[key] = max(self._values.get(key, 0), number)


class Gauge(_Numbers):
    """A number that rises and falls."""

    kind = "gauge"

    def set(self, number: float, *labels: str) -> None:
        """Set it to a number; `labels` are the value of each label."""
        key = self._key(labels)
        with self._lock:
            self._values[key] = number


class Histogram(_Family):
    """Counts of the values that were at most so large.

    Args:
        name, text, labels: as of every family.
        bounds: upper bounds, ascending; one for all values is added.
    """

    kind = "histogram"

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = SECONDS,
    ) -> None:
        super().__init__(name, text, labels)
        self._bounds = (*bounds, math.inf)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}

    def observe(self, number: float, *labels: str) -> None:
        """Count a value; `labels` are the value of each label."""
        key = self._key(labels)
        with self._lock:
            counts = self._counts.setdefault(key, [0] * len(self._bounds))
            counts[bisect_left(self._bounds, number)] += 1
            self._sums[key] = self._sums.get(key, 0.0) + number

    def _samples(self) -> Iterator[str]:
        for values, counts in self._counts.items():
            totals = list(itertools.accumulate(counts))
            for bound, total in zip(self._bounds, totals):
                le = "+Inf" if bound == math.inf else repr(float(bound))
                yield self._line(values, total, "_bucket", le=le)
            yield self._line(values, self._sums[values], "_sum")
            yield self._line(values, totals[-1], "_count")


_Kind = TypeVar("_Kind", bound=_Family)


class Metrics:
    """The numbers of a program. Safe to share between threads."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._readers: list[Callable[[], None]] = []

    def add(self, family: _Kind) -> _Kind:
        """Add a family of numbers; return it.

        Raises:
            ValueError: there is one of that name.
        """
        if self._families.setdefault(family.name, family) is not family:
            raise ValueError(f"there are two metrics named {family.name}")
        return family

    def before_reading(self, update: Callable[[], None]) -> None:
        """Call a function before each `text`, for numbers that are only known at the moment."""
        self._readers.append(update)

    def text(self) -> str:
        """Return all numbers as Prometheus reads them."""
        for update in self._readers:
            update()
        lines = [line for family in list(self._families.values()) for line in family.lines()]
        return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
