"""The buffer that gives out each tick: its order, what it keeps, and what it counts."""

import numpy as np
import pytest
from live import grey
from models import FRAMES, spec_of_brightness

from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.frame_buffer import FrameBuffer


def buffer(wait=0, stride=1, **more):
    """Return a buffer, and a function that adds frames of these numbers, one for each tick."""
    frame = np.zeros((8, 8, 3), np.uint8)
    made = FrameBuffer(
        spec_of_brightness(), frame, wait, **{"every": None, "motion": None, **more}, stride=stride
    )

    def add(*numbers):
        for number in numbers:
            time = number * made.tick
            image = grey(number)
            for _ in made.add(LiveFrame(time, time, image.shape[:2], lambda image=image: image)):
                pass

    return made, frame, add


def taken(made):
    """Return the next tick, as if it had been worked on."""
    window = made.take()
    with made.work():
        return window


def test_each_tick_is_taken_in_turn():
    made, frame, add = buffer()
    seen = []
    add(0, 1, 2)
    while (window := taken(made)) is not None:
        seen.append((int(frame[0, 0, 0]), window.asked, window.span[1]))
    assert seen == [(0, False, 0), (1, False, made.tick), (2, False, 2 * made.tick)]
    add(3)
    window = taken(made)
    assert (window.asked, window.pixels[:, 0, 0, 0].tolist()) == (True, [0, 1, 2, 3])
    add(4)
    assert taken(made).pixels is None  # features answer it


def test_a_tick_waits_for_the_work_on_the_one_before():
    made, _, add = buffer()
    add(0, 1)
    assert made.take() is not None
    assert (made.due, made.pending, made.take()) == (False, True, None)
    with made.work():
        assert not made.due
    assert made.due


def test_work_that_fails_begins_a_run():
    made, _, add = buffer()
    add(*range(4))
    for _ in range(4):
        window = taken(made)
    assert window.asked
    add(4, 5)
    former, window = window.run, made.take()
    assert window.run == former
    with pytest.raises(ZeroDivisionError), made.work():
        _ = 1 / 0
    assert not made.pending
    add(6)
    window = taken(made)
    assert (window.run, window.asked) == (former + 1, False)


@pytest.mark.parametrize("late", [1, 5, 2 * FRAMES])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("wait", [0, 3, 4])
def test_pictures_are_kept_as_long_as_windows_show_them(wait, stride, late):
    """Whole pictures are large: a late consumer must not make them many."""
    made, _, add = buffer(wait, stride)
    asked = 0
    for first in range(0, 60, late):
        for number in range(first, first + late):
            add(number)
            assert len(made._ends) <= (wait + stride - 1) // stride + 1
        while (window := taken(made)) is not None:
            if window.asked:
                asked += 1
                end = round(window.newest.time / made.tick)
                waited = wait if window.pixels is None else 0
                assert window.span[1] == window.newest.time
                assert window.lag == pytest.approx(waited * made.tick)
                assert (end - FRAMES + 1) % stride == 0
                assert made._tick - waited - stride < end <= made._tick - waited
    assert asked >= 60 // max(late, stride) - FRAMES - wait


def test_the_first_window_of_a_run_does_not_wait():
    made, _, add = buffer(wait=2, stride=2)
    ends = []
    for number in range(12):
        add(number)
        window = taken(made)
        if window.asked:
            ends.append((number, round(window.span[1] / made.tick), window.pixels is not None))
    assert ends == [(3, 3, True), (7, 5, False), (9, 7, False), (11, 9, False)]


def test_windows_that_still_wait_are_skipped_by_an_interruption():
    made, _, add = buffer(wait=2)
    for number in range(8):
        add(number)
        former = taken(made).run
    add(100)  # frames are missing
    window = taken(made)
    assert (window.run, window.gaps, window.skipped) == (former + 1, 1, 2)


def test_a_consumer_may_be_late_by_two_windows():
    made, frame, add = buffer()
    add(*range(2 * FRAMES))
    seen = 0
    while taken(made) is not None:
        seen += 1
    add(*range(2 * FRAMES, 4 * FRAMES))
    former = taken(made).run
    assert frame[0, 0, 0] == 2 * FRAMES
    assert made.patience == pytest.approx(2 * FRAMES * made.tick)
    add(4 * FRAMES, 4 * FRAMES + 1)
    assert (seen, made.overruns) == (2 * FRAMES, 0)
    assert taken(made) is None
    assert made.overruns == 1
    add(4 * FRAMES + 2)
    window = taken(made)
    # All were skipped but the newest of the first two windows.
    assert (window.run, window.gaps, window.skipped) == (former + 1, 1, 3 * FRAMES + 2)
