"""Which axes of a tensor lie where, when fewer axes hold it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

Shape = tuple[int, ...]

MAX_RANK = 4

Groups = list[list[int]]

Layout = tuple[tuple[int, ...], ...]
"""For each axis of a held tensor, the original axes that it runs over, outermost first."""

FRAMES: Layout = ((2, 0), (1,), (3,), (4,))
"""Of a video (N, C, T, H, W): the images (T*N, C, H, W). With T outside of N, a piece of time is
a contiguous piece of the tensor."""


def held_dims(layout: Layout, shape: Shape) -> Shape:
    """Shape of what holds a tensor of `shape` in `layout`."""
    return tuple(math.prod(shape[axis] for axis in group) for group in layout)


def contiguous_layout(shape: Shape) -> Layout:
    """A layout of the original's own order: only a Reshape away from it."""
    rank = len(shape)
    if rank == len(order(FRAMES)) and moving(order(FRAMES), shape) == moving(range(rank), shape):
        return FRAMES
    extra = max(rank - MAX_RANK, 0)
    return (tuple(range(extra + 1)), *((axis,) for axis in range(extra + 1, rank))) if rank else ()


def order(layout: Layout) -> tuple[int, ...]:
    """The original axes in the order in which the held tensor lies in memory."""
    return tuple(axis for group in layout for axis in group)


def refined(layout: Layout, shape: Shape, selected: Collection[int]) -> Layout | None:
    """`layout` with the selected axes apart from the others; None where that takes five axes.

    An axis of size 1 that is not selected may lie beside either.
    """

    def kind(axes: Iterable[int]) -> bool | None:
        axes = list(axes)
        if any(axis in selected for axis in axes):
            return True
        return False if moving(axes, shape) else None

    def fit(one: Iterable[int], other: Iterable[int]) -> bool:
        kinds = {kind(one), kind(other)}
        return None in kinds or len(kinds) == 1

    groups: list[tuple[int, ...]] = []
    for group in layout:
        parts = [group[:1]]
        for axis in group[1:]:
            if fit(parts[-1], [axis]):
                parts[-1] += (axis,)
            else:
                parts.append((axis,))
        groups += parts
    while len(groups) > MAX_RANK:
        # The first pair, so that H and W stay apart: a plane stays a plane.
        pairs = (i for i in range(len(groups) - 1) if fit(*groups[i : i + 2]))
        first = next(pairs, None)
        if first is None:
            return None
        groups[first : first + 2] = [groups[first] + groups[first + 1]]
    return tuple(groups)


def moving(axes: Iterable[int], shape: Shape) -> list[int]:
    """The axes whose place matters: those of more than one element."""
    return [axis for axis in axes if shape[axis] > 1]


def outermost(layout: Layout, shape: Shape, axis: int) -> tuple[int, int] | None:
    """The held axis that `axis` is the outermost of, and the size of what is inside of it there."""
    held = next(i for i, group in enumerate(layout) if axis in group)
    place = layout[held].index(axis)
    if moving(layout[held][:place], shape):
        return None
    return held, math.prod(shape[inner] for inner in layout[held][place + 1 :])


def flat(groups: Iterable[list[int]]) -> list[int]:
    return [axis for group in groups for axis in group]


def sorting(groups: Groups, goal: list[int]) -> list[int]:
    """The permutation that puts the groups in the order of their first axes in `goal`."""
    return sorted(range(len(groups)), key=lambda i: goal.index(groups[i][0]) if groups[i] else -1)


def regrouped(axes: list[int], goal: list[int]) -> tuple[Groups, list[int]]:
    """At most four groups of `axes`, and a permutation of them that comes nearer to `goal`."""
    runs: Groups = []  # of axes that stay together
    for axis in axes:
        if runs and goal.index(axis) == goal.index(runs[-1][-1]) + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    permutation = sorting(runs, goal)
    if len(runs) <= MAX_RANK:
        return runs, permutation
    # One run moves to its place: the first that is elsewhere.
    place, now = next((i, j) for i, j in enumerate(permutation) if i != j)
    blocks = [flat(runs[:place]), flat(runs[place:now]), runs[now], flat(runs[now + 1 :])]
    there = [i for i, block in enumerate(blocks) if block]
    return [blocks[i] for i in there], [there.index(i) for i in (0, 2, 1, 3) if i in there]
