"""Layouts: the axes of a tensor, as a stored tensor of fewer axes runs over them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from r2p_edge.export.graph.model import Shape

MAX_RANK = 4
"""The highest rank of a stored tensor."""

Groups = list[list[int]]
"""Original axes, grouped by stored axis."""

Layout = tuple[tuple[int, ...], ...]
"""For each axis of a stored tensor, the original axes that it runs over, outermost first."""

IMAGES: Layout = ((2, 0), (1,), (3,), (4,))
"""Layout of a video (N, C, T, H, W) as images (T*N, C, H, W). T is outside of N so that a range of
frames is contiguous in memory."""


def stored_shape(layout: Layout, shape: Shape) -> Shape:
    """Return the shape of the tensor that stores one of `shape` in `layout`."""
    return tuple(math.prod(shape[axis] for axis in group) for group in layout)


def contiguous_layout(shape: Shape) -> Layout:
    """Return a layout with the elements in their original order, for which a Reshape is enough."""
    rank = len(shape)
    if rank == len(storage_order(IMAGES)) and moving(storage_order(IMAGES), shape) == moving(
        range(rank), shape
    ):
        return IMAGES
    extra = max(rank - MAX_RANK, 0)
    return (tuple(range(extra + 1)), *((axis,) for axis in range(extra + 1, rank))) if rank else ()


def storage_order(layout: Layout) -> tuple[int, ...]:
    """Return the original axes in the order in which the stored tensor lies in memory."""
    return tuple(axis for group in layout for axis in group)


def refined(layout: Layout, shape: Shape, selected: Collection[int]) -> Layout | None:
    """Split a layout so that the selected axes are apart from the others.

    An axis of size 1 that is not selected may lie beside either.

    Returns:
        The new layout; None if it would need five axes.
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
    """Return the axes whose place matters: those with more than one element."""
    return [axis for axis in axes if shape[axis] > 1]


def outermost(layout: Layout, shape: Shape, axis: int) -> tuple[int, int] | None:
    """Find the stored axis whose outermost original axis is `axis`.

    Returns:
        The stored axis, and the number of its elements in one step of `axis`; None if there is no
        such stored axis.
    """
    stored = next(i for i, group in enumerate(layout) if axis in group)
    place = layout[stored].index(axis)
    if moving(layout[stored][:place], shape):
        return None
    return stored, math.prod(shape[inner] for inner in layout[stored][place + 1 :])


def flat(groups: Iterable[list[int]]) -> list[int]:
    """Return the axes of all groups in one list."""
    return [axis for group in groups for axis in group]


def sorting(groups: Groups, goal: list[int]) -> list[int]:
    """Return the permutation that orders the groups as their first axes are in `goal`."""
    return sorted(range(len(groups)), key=lambda i: goal.index(groups[i][0]) if groups[i] else -1)


def regrouped(axes: list[int], goal: list[int]) -> tuple[Groups, list[int]]:
    """Return at most four groups of `axes`, and a permutation of them that is closer to `goal`."""
    runs: Groups = []  # axes that stay together
    for axis in axes:
        if runs and goal.index(axis) == goal.index(runs[-1][-1]) + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    permutation = sorting(runs, goal)
    if len(runs) <= MAX_RANK:
        return runs, permutation
    # One run moves to its place: the first that is not there.
    place, now = next((i, j) for i, j in enumerate(permutation) if i != j)
    blocks = [flat(runs[:place]), flat(runs[place:now]), runs[now], flat(runs[now + 1 :])]
    there = [i for i, block in enumerate(blocks) if block]
    return [blocks[i] for i in there], [there.index(i) for i in (0, 2, 1, 3) if i in there]
