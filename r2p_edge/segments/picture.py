"""The picture of a timeline, as shapes that are drawn as SVG or as pixels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from r2p_edge.errors import count_of
from r2p_edge.segments.texts import caption, clock
from r2p_edge.segments.timelines import Timeline

WIDTH = 1200
_LEFT, _RIGHT, _TOP, _ROW, _BAR = 210, 32, 66, 26, 10
_LETTERS = 26  # of a label beside its row
_TICKS = 10  # at most, on the axis of time
_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600 * hours for hours in (1, 2, 3, 6, 12, 24)),
)
_INK, _FAINT, _LINE, _STRIPE = "#222222", "#666666", "#d5d5d5", "#f5f5f5"
_UNSURE, _MISSING = "#e4e4e4", "#9a9a9a"
_COLOURS = (
    *("#332288", "#117733", "#cc6677", "#0072b2", "#999933", "#aa4499", "#44aa99"),
    *("#882255", "#d55e00", "#000000", "#e69f00", "#6b4f2a"),
)
"""Colours of a dozen rows, most of which colour-blind people tell apart: the darker ones of P.
Tol's "muted" and of M. Okabe and K. Ito's, black, and brown."""


class Box(NamedTuple):
    """A rectangle.

    Attributes:
        hatched: drawn as diagonal lines.
        title: text that is shown when the mouse is on it; "" for none.
        moment: seconds of the video that a click leads to; None for none.
    """

    left: float
    top: float
    width: float
    height: float
    colour: str
    hatched: bool = False
    title: str = ""
    moment: float | None = None


class Area(NamedTuple):
    """A polygon in a pale colour.

    Attributes:
        points: (x, y) of its corners.
    """

    points: list[tuple[float, float]]
    colour: str


class Words(NamedTuple):
    """A line of text.

    Attributes:
        x: of its beginning, its middle or its end.
        y: of its base line.
        anchor: "start", "middle" or "end".
    """

    x: float
    y: float
    text: str
    size: float = 13
    anchor: str = "start"
    colour: str = _INK


@dataclass
class Picture:
    """Shapes, the first of which lies lowest, on a white sheet of `WIDTH` by `height`."""

    title: str
    height: float = 0.0
    shapes: list[Box | Area | Words] = field(default_factory=list)


def draw_timeline(timeline: Timeline) -> Picture:
    """Return the picture of a timeline: a row for each label that occurs, in order of appearance.

    In each row a bar is what was decided, and the pale area is the model's score. A gap is a
    column: grey where it is "unsure", hatched where frames are missing.
    """
    names = list(dict.fromkeys(each.label for each in timeline.segments if each.label is not None))
    count = sum(each.label is not None for each in timeline.segments)
    counted = count_of(count, "segment")
    picture = Picture(f"Timeline of {_base(timeline.video)}")
    add = picture.shapes.append
    bottom = _TOP + _ROW * max(len(names), 1)
    picture.height = bottom + 62
    scale = (WIDTH - _LEFT - _RIGHT) / max(timeline.duration, 1e-9)

    add(Words(16, 28, shortened_name(_base(timeline.video), 90), 18))
    facts = f"{clock(timeline.duration, '', hours=False)} long, {counted}, {timeline.model}"
    if timeline.truncated:
        facts += ", the file is cut off"
    add(Words(16, 50, facts, 13, colour=_FAINT))
    for row in range(0, len(names), 2):
        add(Box(_LEFT, _TOP + row * _ROW, WIDTH - _LEFT - _RIGHT, _ROW, _STRIPE))
    for second, text in _ticks(timeline.duration):
        x = _LEFT + second * scale
        add(Box(x - 0.5, _TOP, 1, bottom - _TOP + 5, _LINE))
        add(Words(x, bottom + 19, text, 12, "middle", _FAINT))
    for each in timeline.segments:
        if each.gap is not None:
            missing = each.gap != "unsure"
            width = max((each.end - each.start) * scale, 1)
            colour = _MISSING if missing else _UNSURE
            left, title = _LEFT + each.start * scale, _span(each.start, each.end, caption(each))
            add(Box(left, _TOP, width, bottom - _TOP, colour, missing, title, each.start))
    for row, name in enumerate(names):
        top, colour = _TOP + row * _ROW, _COLOURS[row % len(_COLOURS)]
        add(Words(_LEFT - 10, top + 18, shortened_name(name, _LETTERS), 13, "end"))
        picture.shapes += _score_areas(timeline, name, top, scale, colour)
    for each in timeline.segments:
        if each.label is not None:
            row = names.index(each.label)
            left, width = _LEFT + each.start * scale, max((each.end - each.start) * scale, 1)
            top, title = _TOP + (row + 1) * _ROW - _BAR, _span(each.start, each.end, caption(each))
            colour = _COLOURS[row % len(_COLOURS)]
            add(Box(left, top, width, _BAR, colour, title=title, moment=each.start))
    _add_legend(picture, bottom + 46)
    return picture


def _score_areas(
    timeline: Timeline, name: str, top: float, scale: float, colour: str
) -> list[Area]:
    """Return the scores of a label over time, one area for each run of windows."""
    areas = []
    floor, high = top + _ROW - 1, _ROW - 4
    windows, column = timeline.windows, timeline.labels.index(name)
    for run in windows.runs:
        if run.first == run.stop:
            continue
        x = _LEFT + windows.times[run.first : run.stop] * scale
        scores = windows.scores[run.first : run.stop, column]
        # The highest score of each pixel, so that an hour is no more points than a minute.
        pixels, first = np.unique(x.astype(int), return_index=True)
        scores = np.maximum.reduceat(scores, first).clip(0, 1)
        x, y = pixels + 0.5, np.round(floor - high * scores, 1)
        # Without the points within a level line, which are most of them.
        within = np.flatnonzero((y[1:-1] == y[:-2]) & (y[1:-1] == y[2:])) + 1
        line = list(zip(np.delete(x, within).tolist(), np.delete(y, within).tolist()))
        areas.append(Area([(line[0][0], floor), *line, (line[-1][0], floor)], colour))
    return areas


def _add_legend(picture: Picture, y: float) -> None:
    add, x = picture.shapes.append, float(_LEFT)
    add(Box(x, y - 10, 22, _BAR, _COLOURS[0]))
    add(Words(x + 28, y, "decided", 12, colour=_FAINT))
    x += 110
    add(Area([(x, y), (x + 8, y - 12), (x + 16, y - 5), (x + 22, y)], _COLOURS[0]))
    add(Words(x + 28, y, "score of the model", 12, colour=_FAINT))
    x += 170
    add(Box(x, y - 10, 22, _BAR, _UNSURE))
    add(Words(x + 28, y, "unsure", 12, colour=_FAINT))
    x += 100
    add(Box(x, y - 10, 22, _BAR, _MISSING, hatched=True))
    add(Words(x + 28, y, "no frames, too short", 12, colour=_FAINT))


def _ticks(duration: float) -> list[tuple[float, str]]:
    """Return the moments that the axis of time names, and their names."""
    step = next((step for step in _STEPS if duration / step <= _TICKS), duration / _TICKS)
    numbers = itertools.takewhile(lambda k: k * step <= duration + 1e-6, itertools.count())
    moments = [k * step for k in numbers]
    if step < 1:
        return [(moment, f"{moment:.1f} s") for moment in moments]
    return [(moment, clock(moment, "", hours=False)) for moment in moments]


def _span(start: float, end: float, text: str) -> str:
    return f"{clock(start, hours=False)} to {clock(end, hours=False)}: {text}"


def shortened_name(name: str, letters: int) -> str:
    """Return a name on one line of at most so many letters."""
    name = " ".join(name.split())
    return name if len(name) <= letters else name[: letters - 1] + "\u2026"


def _base(video: str) -> str:
    return video.rstrip("/").rsplit("/", 1)[-1] or video
