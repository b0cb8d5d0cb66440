"""Rings: which slot is which, and what is written into those before the first frame."""

import numpy as np
import pytest

from r2p_edge.per_frame.rings import FrameRings
from r2p_edge.spec import RingSpec


def ring(name="a", zero=0, gate=0, dtype="float32"):
    scale = None if dtype == "float32" else 0.5
    return RingSpec(name, (1, 1, 1), dtype, zero, scale, gate, {"head": (1, 3)})


def write(rings, value):
    """Write a tick as a graph does, into the slots that it is told."""
    rings.begin()
    written = {name: rings.holder(name, 0) for name in rings.names}
    for array in written.values():
        array.fill(value)
    rings.end()


def values(rings, name, ages):
    return [rings.slice(name, age).item() for age in ages]


@pytest.mark.parametrize("depth", [0, 1, 3, 8])
def test_a_slice_is_found_by_its_age(depth):
    rings = FrameRings([ring()], {"a": depth}, lambda array: array)
    for tick in range(1, 30):
        write(rings, tick)
        wanted = [max(tick - age, 0) for age in range(depth + 1)]
        assert values(rings, "a", range(depth + 1)) == wanted


def test_the_slot_that_is_written_is_none_that_is_read():
    rings = FrameRings([ring(), ring("b")], {"a": 3, "b": 1}, lambda array: array)
    for _ in range(20):
        rings.begin()
        read = [rings.holder("a", age) for age in (1, 2, 3)] + [rings.holder("b", 1)]
        written = [rings.holder(name, 0) for name in rings.names]
        assert not any(np.shares_memory(one, other) for one in read for other in written)


def test_slices_before_the_first_frame_are_zero():
    gated = ring("b", zero=3, gate=2, dtype="uint8")
    rings = FrameRings([ring(), gated], {"a": 3, "b": 3}, lambda array: array)
    assert values(rings, "b", range(4)) == [3, 3, 3, 3]
    for tick in range(1, 5):
        write(rings, 10 * tick)
    assert values(rings, "a", range(4)) == [40, 30, 20, 10]
    assert values(rings, "b", range(4)) == [40, 30, 3, 3]


def test_a_cleared_ring_is_a_new_one():
    rings = FrameRings([ring("b", zero=3, gate=1, dtype="uint8")], {"b": 2}, lambda array: array)
    for tick in range(7):
        write(rings, tick)
    rings.clear()
    assert rings.ticks == 0
    write(rings, 9)
    assert values(rings, "b", range(3)) == [3, 3, 3]
    write(rings, 9)
    assert values(rings, "b", range(3)) == [9, 3, 3]


def test_arrays_begin_where_libraries_need_no_copy():
    rings = FrameRings([ring()], {"a": 4}, lambda array: array)
    assert {rings.slice("a", age).ctypes.data % 64 for age in range(5)} == {0}
    assert rings.bytes == 5 * 4
