"""How a decoded frame is to be turned and mirrored: by its display matrix, also that of EXIF."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_NEWER = 16
"""Types of side data of a newer FFmpeg than PyAV knows."""


class Orientation(NamedTuple):
    """The steps from the pixels to the picture: first swap, then flip.

    Attributes:
        swapped: rows become columns.
        down: rows are flipped, upside down.
        across: columns are flipped, as in a mirror.
    """

    swapped: bool = False
    down: bool = False
    across: bool = False


UPRIGHT = Orientation()


def orientation_of(frame: Any) -> Orientation:
    """Return how a PyAV frame is to be shown.

    Its matrix (libavutil/display.h) may turn by any angle; the nearest right one is taken.
    """
    data = _matrix_of(frame)
    if data is None:
        return UPRIGHT
    to_x, to_y = np.frombuffer(data, np.int32).reshape(3, 3)[:2, :2].T.tolist()
    swapped = abs(to_x[0]) + abs(to_y[1]) < abs(to_x[1]) + abs(to_y[0])
    across, down = (to_x[1], to_y[0]) if swapped else (to_x[0], to_y[1])
    return Orientation(swapped, down < 0, across < 0)


def _matrix_of(frame: Any) -> Any:
    try:
        return frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV up to 18.1 gives none where it does not know one of them, as EXIF
        return _with_known_side_data(frame).side_data.get("DISPLAYMATRIX")


def _with_known_side_data(frame: Any) -> Any:
    """Return a frame without the side data whose types PyAV does not know."""
    from fractions import Fraction

    from av.filter import Graph
    from av.sidedata.sidedata import Type

    graph = Graph()
    last = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1),
    )
    types: Any = Type
    newest = max(known.value for known in types)
    for number in range(newest + 1, newest + 1 + _NEWER):
        step = graph.add("sidedata", f"mode=delete:type={number}")
        last.link_to(step)
        last = step
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    return graph.pull()
