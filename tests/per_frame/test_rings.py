"""Rings: which slot is which, and what is written into those before the first frame."""

import numpy as np
import pytest

from r2p_edge.per_frame.rings import FrameRings, SpareSlots
from r2p_edge.runtimes.part import PartMemory, aligned
from r2p_edge.spec import RingSpec


def ring(name="a", zero=0, gate=0, dtype="float32"):
    scale = None if dtype == "float32" else 0.5
    return RingSpec(name, (1, 1, 1), dtype, zero, scale, gate, {"head": (1, 3)})


def spare_slots(*rings):
    """Return slots whose holders are the arrays themselves."""

    def memory(shape, dtype):
        array = aligned(shape, dtype)
        return PartMemory(array, array)

    return SpareSlots(rings or [ring()], memory)


def write(rings, value):
    """Write a tick as a graph does, into the slots that it is told."""
    rings.begin()
    for name in rings.names:
        rings.slot(name, 0).holder.fill(value)
    rings.end()


def values(rings, name, ages):
    return [rings.slot(name, age).array.item() for age in ages]


@pytest.mark.parametrize("in_step", [0, 1, 3, 8])
@pytest.mark.parametrize("after", [-1, 0, 2, 3, 9])
def test_a_slice_is_found_by_its_age(in_step, after):
    rings = FrameRings(spare_slots(), {"a": in_step}, {"a": after})
    for tick in range(1, 30):
        rings.begin()
        rings.slot("a", 0).holder.fill(tick)
        ages = range(1, in_step + 1)
        assert values(rings, "a", ages) == [max(tick - age, 0) for age in ages]
        rings.end()
        ages = range(after + 1)
        assert values(rings, "a", ages) == [max(tick - age, 0) for age in ages]


@pytest.mark.parametrize(
    ("in_step", "after", "kept", "spare"),
    [
        (2, 1, 2, 1),  # what a step reads, and one more to write
        (4, 3, 4, 1),
        (3, -1, 3, 1),
        (0, 14, 15, 0),  # no step reads it, so the oldest slot is written anew
        (2, 3, 4, 0),
        (2, 2, 3, 0),
    ],
)
def test_no_more_is_kept_than_is_read(in_step, after, kept, spare):
    slots = spare_slots()
    rings = FrameRings(slots, {"a": in_step}, {"a": after})
    for tick in range(20):
        write(rings, tick)
        assert (rings.bytes, slots.bytes) == (4 * kept, 4 * spare)


def test_the_slot_that_is_written_is_none_that_is_read():
    rings = FrameRings(spare_slots(ring(), ring("b")), {"a": 3, "b": 1}, {"a": 1, "b": 4})
    for _ in range(20):
        rings.begin()
        read = [rings.slot("a", age).array for age in (1, 2, 3)] + [rings.slot("b", 1).array]
        written = [rings.slot(name, 0).array for name in rings.names]
        assert not any(np.shares_memory(one, other) for one in read for other in written)
        rings.end()


def test_cameras_share_what_a_step_needs_more():
    slots = spare_slots()
    cameras = [FrameRings(slots, {"a": 2}, {"a": 1}) for _ in range(5)]
    for tick in range(1, 10):
        for number, camera in enumerate(cameras):
            write(camera, 100 * number + tick)
        assert slots.bytes == 4
    for number, camera in enumerate(cameras):
        assert values(camera, "a", (0, 1)) == [100 * number + 9, 100 * number + 8]
    for camera in cameras[:3]:  # in threads of their own
        camera.begin()
    for camera in cameras[:3]:
        camera.end()
    assert slots.bytes == 3 * 4
    kept = [camera.slot("a", age).array for camera in cameras for age in (0, 1)]
    assert len({array.ctypes.data for array in kept}) == 10


def test_slices_before_the_first_frame_are_zero():
    gated = ring("b", zero=3, gate=2, dtype="uint8")
    both = {"a": 3, "b": 3}
    rings = FrameRings(spare_slots(ring(), gated), both, both)
    assert values(rings, "b", range(4)) == [3, 3, 3, 3]
    for tick in range(1, 5):
        write(rings, 10 * tick)
    assert values(rings, "a", range(4)) == [40, 30, 20, 10]
    assert values(rings, "b", range(4)) == [40, 30, 3, 3]


def test_a_cleared_ring_is_a_new_one():
    slots = spare_slots(ring("b", zero=3, gate=1, dtype="uint8"))
    rings = FrameRings(slots, {"b": 3}, {"b": 2})
    for tick in range(7):
        write(rings, tick)
    rings.begin()  # and the graph fails
    rings.clear()
    assert (rings.ticks, rings.bytes, slots.bytes) == (0, 3, 1)
    write(rings, 9)
    assert values(rings, "b", range(3)) == [3, 3, 3]
    write(rings, 9)
    assert values(rings, "b", range(3)) == [9, 3, 3]


def test_arrays_begin_where_libraries_need_no_copy():
    rings = FrameRings(spare_slots(), {"a": 5}, {"a": 4})
    assert {rings.slot("a", age).array.ctypes.data % 64 for age in range(5)} == {0}
