"""The state of one camera: the newest slices of the tensors that later frames will look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt

from r2p_edge.runtimes.part import aligned
from r2p_edge.spec import RingSpec


class _Ring(NamedTuple):
    """The slots of one tensor, and what the library knows of each."""

    spec: RingSpec
    slots: list[npt.NDArray[Any]]
    holders: list[Any]


class FrameRings:
    """FrameRings of slices, one slot for each tick up to the oldest that is read, made once.

    A slice is written in the slot of the oldest one, which nobody reads any more: a graph never
    writes what it reads.

    Args:
        rings: the tensors.
        oldest: age in ticks of the oldest slice of each that is read, by name.
        holder: see `PartModel.holder`.

    Attributes:
        names: of the rings.
        ticks: number of ticks since the last reset.
    """

    def __init__(
        self,
        rings: Iterable[RingSpec],
        oldest: Mapping[str, int],
        holder: Callable[[npt.NDArray[Any]], Any],
    ) -> None:
        self._rings: dict[str, _Ring] = {}
        for spec in rings:
            shape, count = (1, *spec.shape), oldest[spec.name] + 1
            slots = [aligned(shape, spec.dtype) for _ in range(count)]
            self._rings[spec.name] = _Ring(spec, slots, [holder(slot) for slot in slots])
        self.names = tuple(self._rings)
        self.clear()

    @property
    def bytes(self) -> int:
        """Size of all slots."""
        return sum(slot.nbytes for ring in self._rings.values() for slot in ring.slots)

    def clear(self) -> None:
        """Begin anew, with the zeros that a clip has before its first frame."""
        self.ticks = 0
        for ring in self._rings.values():
            for slot in ring.slots:
                slot.fill(ring.spec.zero)

    def begin(self) -> None:
        """Begin a tick, which is the newest one from now on; its slots have old slices still."""
        self.ticks += 1

    def end(self) -> None:
        """End a tick whose slices are written.

        One that is centred before the first frame is made of nothing but the biases of the layers
        before it; in a clip there are zeros.
        """
        for name, ring in self._rings.items():
            if self.ticks <= ring.spec.gate:
                self.slice(name, 0).fill(ring.spec.zero)

    def holder(self, name: str, age: int) -> Any:
        """Return the holder of the slice of the newest tick, or of `age` ticks before it."""
        ring = self._rings[name]
        return ring.holders[(self.ticks - 1 - age) % len(ring.slots)]

    def slice(self, name: str, age: int) -> npt.NDArray[Any]:
        """Return the slice itself, (1, C, H, W); see `holder`."""
        ring = self._rings[name]
        return ring.slots[(self.ticks - 1 - age) % len(ring.slots)]
