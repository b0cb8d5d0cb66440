"""Ticks: which frame each of them takes, at any frame rate."""

import dataclasses

import numpy as np
import pytest
from live import TICK, Shown, grey, push_all
from models import FRAMES, spec_of_brightness

from r2p_edge import Stream
from r2p_edge.errors import SpecError
from r2p_edge.video.sampling import TIE


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
@pytest.mark.parametrize("seed", range(6))
def test_each_tick_takes_the_nearest_frame(seed):
    rng = np.random.default_rng(seed)
    times = 100 + np.cumsum(rng.uniform(0.001, rng.choice([0.02, 0.06, 0.15]), 200))
    shown = Shown()
    push_all(Stream(shown, stride=1), times)
    ticks = np.arange(times[0], times[-1], TICK)
    distance = np.abs(times[None] - ticks[:, None])
    best = distance.min(axis=1, keepdims=True)
    nearest = (distance <= best + TIE).argmax(axis=1).tolist()
    expected = [nearest[i : i + FRAMES] for i in range(len(nearest) - FRAMES + 1)]
    # A frame that answers several windows answers the newest of them alone.
    assert shown.windows
    assert all(window in expected for window in shown.windows)
    if np.diff(times).max() < TICK:
        assert shown.windows == expected


def test_of_two_frames_equally_near_the_earlier_counts():
    shown = Shown()
    push_all(Stream(shown, stride=1), [0, 0.06, 0.1 - 5e-7, 0.16, 0.24])
    assert shown.windows == [[0, 1, 3, 4]]


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_a_frame_on_a_tick_answers_at_once(predictor, start):
    stream = Stream(predictor, stride=1)
    times = start + np.round(np.arange(20) / 25 - 0.0004, 3)
    found = [stream.push(grey(k), float(time)) is not None for k, time in enumerate(times)]
    assert found == [k >= 6 and k % 2 == 0 for k in range(20)]


def test_uneven_offsets():
    clip = dataclasses.replace(spec_of_brightness().clip, offsets="linspace")
    shown = Shown(spec_of_brightness(clip=clip))
    push_all(Stream(shown, stride=1), np.arange(12) / 25)
    offsets = np.linspace(0, 8, 4).clip(0, 7).astype(int)  # as the model was trained
    assert shown.windows == [(start + offsets).tolist() for start in (0, 2, 4)]


@pytest.mark.parametrize("order", ["temporal", "lexicographic"])
def test_a_model_that_counts_frames_is_refused(order):
    clip = dataclasses.replace(spec_of_brightness().clip, sampling="index", order=order)
    with pytest.raises(SpecError, match="--order temporal"):
        Stream(Shown(spec_of_brightness(clip=clip)))
