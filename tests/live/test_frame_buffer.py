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
        seen.append((int(frame[0, 0, 0]), window.asked, window.newest.time))
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


@pytest.mark.parametrize("wait", [0, 3])
def test_pictures_are_kept_as_long_as_windows_show_them(wait):
    made, _, add = buffer(wait)
    for number in range(30):
        add(number)
        window = taken(made)
        if window.asked:
            assert window.newest.time == pytest.approx((number - wait * (number > 3)) * made.tick)
            assert window.lag == pytest.approx(wait * (number > 3) * made.tick)
            assert window.span[1] == window.newest.time
        assert len(made._shown) <= wait


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


def test_a_consumer_may_be_late_by_a_window():
    made, frame, add = buffer()
    add(*range(FRAMES))
    seen = 0
    while taken(made) is not None:
        seen += 1
    add(*range(FRAMES, 2 * FRAMES))
    former = taken(made).run
    assert frame[0, 0, 0] == FRAMES
    add(2 * FRAMES, 2 * FRAMES + 1)
    assert (seen, made.overruns) == (FRAMES, 0)
    assert taken(made) is None
    assert made.overruns == 1
    add(2 * FRAMES + 2)
    window = taken(made)
    assert (window.run, window.gaps, window.skipped) == (
        former + 1,
        1,
        FRAMES + 2,
    )  # all but those of the first clip
