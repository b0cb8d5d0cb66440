"""Models of optical flow in streams: one flow for each pair of ticks, out of the ring."""

import logging

import numpy as np
import pytest
from flows import moving, of_frames, pair_by_pair, spec_of_flow
from live import Shown

from r2p_edge import Stream
from r2p_edge.live.buffer import ClipBuffer
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.preprocess.flow import FlowPreprocessor
from r2p_edge.spec import FlowSpec


@pytest.fixture
def computed(monkeypatch):
    """The pairs of which flow was computed."""
    pairs, displacements = [], FlowPreprocessor.displacements
    monkeypatch.setattr(
        FlowPreprocessor,
        "displacements",
        lambda self, *pair: pairs.append(pair) or displacements(self, *pair),
    )
    return pairs


def windows_of(spec, frames, times, **options):
    """Return the windows of a stream of these frames."""
    buffer = ClipBuffer(spec, **{"stride": None, "every": None, "motion": None, **options})
    windows = []
    for frame, time in zip(frames, times, strict=True):
        live = LiveFrame(float(time), float(time), frame.shape[:2], decoded(frame))
        for _ in buffer.add(live):
            window = buffer.take()
            if window is not None:
                windows.append(window)
    return windows


@pytest.mark.parametrize("stride", [1, 3, 9])
def test_a_stream_at_the_training_rate_shows_the_flow_of_each_pair_once(stride, computed):
    frames = moving(30)
    windows = windows_of(spec_of_flow(), frames, np.arange(30) / 25, stride=stride)
    flow = pair_by_pair(frames)
    ends = range(4, 30, stride)
    assert len(windows) == len(ends)
    for window, end in zip(windows, ends, strict=True):
        np.testing.assert_array_equal(window.pixels, flow[end - 4 : end])
        assert window.span == ((end - 4) / 25, end / 25)
        assert window.coverage == 1
    assert len(computed) <= 29
    if stride == 9:  # pairs between windows are nobody's
        assert len(computed) < 20


def test_a_slow_source_repeats_pictures_and_says_so(computed):
    frames = moving(12)
    windows = windows_of(spec_of_flow(), frames, np.arange(12) / 12.5, stride=4)
    # Five ticks show three pictures: two pairs of four are of two pictures.
    assert [window.coverage for window in windows] == [0.5] * len(windows)
    assert windows


def test_a_stream_between_ticks_takes_the_nearest_pictures():
    frames = moving(40, right=1)
    windows = windows_of(spec_of_flow(), frames, np.arange(40) / 50, stride=1)
    flow = pair_by_pair(frames[::2])
    np.testing.assert_array_equal(windows[0].pixels, flow[:4])
    np.testing.assert_array_equal(windows[-1].pixels, flow[-4:])


def test_no_flow_goes_from_a_size_to_another(computed, caplog):
    small, large = moving(12), np.zeros((12, 120, 160, 3), np.uint8)
    frames = [*small[:6], *large[:6], *small[6:]]
    with caplog.at_level(logging.INFO):
        windows = windows_of(
            spec_of_flow(FlowSpec("farneback", "full")), frames, np.arange(18) / 25, stride=1
        )
    assert len(windows) == 3 * 2
    assert all(before.shape == after.shape for before, after in computed)
    assert len(computed) == 3 * 5
    assert "frames changed from 80x60 to 160x120 pixels" in caplog.text
    assert [window.gaps for window in windows] == [0, 0, 1, 1, 2, 2]


def test_pushed_frames_may_be_overwritten():
    shown = Shown(spec_of_flow())
    stream, flow = Stream(shown, stride=1), pair_by_pair(moving(6))
    place = np.empty((60, 80, 3), np.uint8)
    for number, frame in enumerate(moving(6)):
        place[...] = frame
        stream.add(place, number / 25)
        place[...] = 0
    window = stream.buffer.take()
    np.testing.assert_array_equal(window.pixels, flow[1:])


def test_the_gate_looks_at_pictures():
    still = np.repeat(moving(1), 20, axis=0)
    spec = of_frames(spec_of_flow(), 4)
    windows = windows_of(spec, still, np.arange(20) / 25, stride=4, motion=15.0)
    assert windows
    assert all(window.still for window in windows)
    walking = windows_of(spec, moving(20, right=6), np.arange(20) / 25, stride=4, motion=15.0)
    assert not any(window.still for window in walking)


def test_levels_of_8_bits_lie_in_a_ring_of_8_bits():
    spec = spec_of_flow(FlowSpec("farneback", bound=20.0, levels="uint8"))
    (window, *_) = windows_of(spec, moving(5), np.arange(5) / 25)
    assert window.pixels.dtype == np.uint8
    assert window.pixels.shape == (4, 48, 48, 2)
    assert np.median(window.pixels[..., 0]) == pytest.approx(255 * 23 / 40, abs=1)
