"""The state of one camera: the newest slices of the tensors that later frames will look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from r2p_edge.runtimes.part import PartMemory
from r2p_edge.spec import RingSpec


class SpareSlots:
    """Slots into which a frame's slices are written, and which the next frame's owner gets then.

    A graph must not write what it reads, so that a frame needs a slot more than is kept from one
    to the next. All cameras of a model share these: there are as many as run at the same time.

    Args:
        rings: the tensors.
        memory: returns memory of a shape and a dtype, see `PartModel.memory`.
    """

    def __init__(
        self, rings: Iterable[RingSpec], memory: Callable[[tuple[int, ...], str], PartMemory]
    ) -> None:
        self.rings = {ring.name: ring for ring in rings}
        self._memory = memory
        self._spare: dict[str, deque[PartMemory]] = {name: deque() for name in self.rings}

    @property
    def bytes(self) -> int:
        """Size of those that nobody uses."""
        return sum(slot.nbytes for slots in self._spare.values() for slot in slots)

    def take(self, name: str) -> PartMemory:
        """Return a slot for a ring, a new one if all are in use; from any thread."""
        try:
            return self._spare[name].pop()
        except IndexError:
            return self.new(name)

    def put(self, name: str, slot: PartMemory) -> None:
        """Give a slot back; from any thread."""
        self._spare[name].append(slot)

    def new(self, name: str) -> PartMemory:
        """Return a new slot for a ring, of any content."""
        ring = self.rings[name]
        return self._memory((1, *ring.shape), ring.dtype)


class _Ring:
    """The slices of one tensor, the newest first."""

    def __init__(self, spec: RingSpec, kept: int, in_step: int, spare: SpareSlots) -> None:
        self.spec, self._spare, self.kept = spec, spare, kept
        self.slots = deque(spare.new(spec.name) for _ in range(kept))
        # The oldest one is free already where no step reads it, but a tail.
        self._own = kept > in_step

    def begin(self) -> None:
        own = self._own
        self.slots.appendleft(self.slots.pop() if own else self._spare.take(self.spec.name))

    def end(self) -> None:
        while len(self.slots) > self.kept:
            self._spare.put(self.spec.name, self.slots.pop())


class FrameRings:
    """Slices of some tensors, one for each tick as far back as anybody reads.

    Args:
        spare: gives slots.
        in_step: age in ticks of the oldest slice of each ring that a step reads, in which the
            newest one, of age 0, is written; 0 for none.
        after: the same of those that are read after a step; -1 for none.

    Attributes:
        names: of the rings.
        ticks: number of ticks since the last reset.
    """

    def __init__(
        self, spare: SpareSlots, in_step: Mapping[str, int], after: Mapping[str, int]
    ) -> None:
        self.names = tuple(spare.rings)
        self._rings = {
            name: _Ring(
                spare.rings[name], max(in_step[name], after[name] + 1), in_step[name], spare
            )
            for name in self.names
        }
        self.clear()

    @property
    def bytes(self) -> int:
        """Size of what is kept from tick to tick."""
        return sum(slot.nbytes for ring in self._rings.values() for slot in ring.slots)

    def clear(self) -> None:
        """Begin anew, with the zeros that a clip has before its first frame."""
        self.ticks = 0
        for ring in self._rings.values():
            ring.end()
            for slot in ring.slots:
                slot.fill(ring.spec.zero)

    def begin(self) -> None:
        """Begin a tick, which is the newest one from now on; its slices are still to be written."""
        self.ticks += 1
        for ring in self._rings.values():
            ring.begin()

    def end(self) -> None:
        """End a tick whose slices are written.

        One that is centred before the first frame is made of nothing but the biases of the layers
        before it; in a clip there are zeros.
        """
        for ring in self._rings.values():
            if self.ticks <= ring.spec.gate:
                ring.slots[0].fill(ring.spec.zero)
            ring.end()

    def slot(self, name: str, age: int) -> PartMemory:
        """Return the slice of the newest tick, or of `age` ticks before it."""
        return self._rings[name].slots[age]
