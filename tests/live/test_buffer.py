"""The clip buffer: what a window holds, what empties it, and what its frames took."""

import dataclasses
import itertools
import logging
import sys
import threading
from functools import partial

import numpy as np
import pytest
from live import Shown, grey, push_all
from models import spec_of_brightness

from r2p_edge import Stream
from r2p_edge.live.buffer import MANY_BREAKS, ClipBuffer
from r2p_edge.live.frame import LiveFrame


@pytest.mark.parametrize(
    ("times", "sizes"),
    [
        ([*np.arange(10) / 25, *(5 + np.arange(10) / 25)], None),  # frames are missing
        ([*(9 + np.arange(10) / 25), *np.arange(10) / 25], None),  # the clock jumps back
        (np.arange(20) / 25, [10] * 10 + [16] * 10),
    ],
)
def test_an_interruption_empties_the_window(times, sizes):
    shown = Shown()
    stream = Stream(shown, stride=1)
    found = [
        stream.push(grey(k, (sizes or [10] * 20)[k]), float(time)) for k, time in enumerate(times)
    ]
    assert shown.windows == [[0, 2, 4, 6], [2, 4, 6, 8], [10, 12, 14, 16], [12, 14, 16, 18]]
    assert [answer.live.gaps for answer in found if answer] == [0, 0, 1, 1]


def test_a_short_loss_shows_in_the_coverage():
    clip = dataclasses.replace(spec_of_brightness().clip, frames=8)
    shown = Shown(spec_of_brightness(clip=clip))
    (answer,) = push_all(Stream(shown, stride=9), np.delete(np.arange(15) / 25, range(5, 12)))
    assert shown.windows == [[0, 2, 4, 4, 4, 5, 5, 7]]
    assert (answer.coverage, answer.live.gaps) == (5 / 8, 0)


def test_a_window_that_an_interruption_took_is_skipped():
    stream = Stream(Shown(), stride=1)
    for k in range(11):
        stream.add(grey(k), k / 25)
    assert stream.push(grey(0), 9.0) is None
    *_, answer = push_all(stream, 9 + np.arange(1, 8) / 25)
    assert (answer.live.skipped, answer.live.gaps) == (3, 1)


def test_the_same_frame_again_changes_nothing():
    shown = Shown()
    push_all(Stream(shown, stride=1), np.repeat(np.arange(8) / 25, 2), np.repeat(np.arange(8), 2))
    assert shown.windows == [[0, 2, 4, 6]]


def test_only_frames_that_a_window_needs_are_preprocessed(monkeypatch):
    shown = Shown()
    stream = Stream(shown, stride=25)
    made, make = [], stream.buffer._maker.make
    monkeypatch.setattr(
        stream.buffer._maker,
        "make",
        lambda image, *rest: made.append(int(image[0, 0, 0])) or make(image, *rest),
    )
    push_all(stream, np.arange(120) / 25)
    assert shown.windows == [[0, 2, 4, 6], [50, 52, 54, 56], [100, 102, 104, 106]]
    used = {time + offset for time in (0, 50, 100) for offset in range(7)}
    assert set(made) <= used | {48, 49, 98, 99}


def test_a_pushed_array_may_be_overwritten(predictor):
    shown, buffer = Shown(), grey(0)
    stream = Stream(shown, stride=1)
    for k, time in enumerate(np.arange(40) / 30):
        buffer[:] = k
        stream.push(buffer, float(time))
        buffer[:] = 255
    assert shown.windows[0] == [0, 2, 5, 7]
    assert 255 not in np.array(shown.windows)


@pytest.fixture
def often_switched():
    """Let Python switch threads far more often than it does, in the middle of anything."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.slow
def test_a_writer_at_full_speed_changes_no_window_in_use(often_switched):
    """Show frames of which k is all k; a window must stay four successive even ones."""
    taken, done, count = [], threading.Event(), 0
    stream = Stream(Shown(), stride=1)

    def write():
        for k in itertools.count():
            stream.add(grey(k), k / 25)
            if done.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    while count < 100:
        window = stream.buffer.take()
        if window is not None:
            count += 1
            taken.append((window, window.pixels.copy()))
            del taken[:-8]
            for held, copy in taken:
                np.testing.assert_array_equal(held.pixels, copy)
            assert (window.pixels == window.pixels[:, :1, :1, :1]).all()
            shown = window.pixels[:, 0, 0, 0].astype(int)
            assert (np.diff(shown) % 250 == 2).all()
            assert shown[-1] == round(window.span[1] * 25) % 250
    done.set()
    writer.join()


def live_frame(k, picture=None, **more):
    """Return frame k of level k, at k / 25 seconds."""
    return LiveFrame(k / 25, 0.0, (10, 12), picture or partial(grey, k), **more)


def fill(buffer, *frames):
    for frame in frames:
        list(buffer.add(frame))


@pytest.fixture
def buffer():
    return ClipBuffer(spec_of_brightness(), stride=1, every=None, motion=None, name="door")


def test_a_timing_that_was_given_out_never_changes(buffer):
    """Take a window while the next frame is preprocessed."""
    fill(buffer, *map(live_frame, range(7)))
    given = []

    def picture():
        window = buffer.take()
        given.append((window.timing, dataclasses.replace(window.timing)))
        return grey(8)

    fill(buffer, live_frame(8, picture))
    ((timing, copy),) = given
    assert timing == copy
    assert buffer.take().timing.preprocess > 0  # the frame's own


def test_the_timing_covers_decoding_and_preprocessing(buffer):
    fill(buffer, *(live_frame(k, decode_ms=1000.0) for k in range(7)))
    timing = buffer.take().timing
    assert timing.decode >= 7000
    assert timing.preprocess > 0
    assert timing.total >= timing.decode + timing.preprocess - 1e-6
    fill(buffer, *(live_frame(k, decode_ms=1000.0) for k in (7, 8)))
    assert 2000 <= buffer.take().timing.decode < 7000  # of the frames since


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (live_frame(100), "no frame came for 3.76 s"),
        (live_frame(-25), "the time of the frames went back by 1.24 s"),
        (live_frame(7, joined=False), "the source was interrupted"),
        (live_frame(7)._replace(size=(20, 24)), "frames changed from 12x10 to 24x20 pixels"),
    ],
)
def test_the_log_says_why_a_window_was_emptied(buffer, caplog, frame, reason):
    caplog.set_level(logging.INFO, "r2p_edge")
    fill(buffer, *map(live_frame, range(7)), frame)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == f"door: the window was emptied: {reason}"


def test_the_log_is_not_flooded(buffer, caplog):
    caplog.set_level(logging.INFO, "r2p_edge")
    fill(buffer, *(live_frame(1000 * k) for k in range(100)))
    assert len(caplog.records) == MANY_BREAKS
