"""The motion gate: what moves, and what is noise or light."""

import contextlib
import dataclasses

import numpy as np
import pytest
from live import TICK, Shown, block, push_all
from models import FRAMES, spec_of_brightness

from r2p_edge import Stream
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.video.source import open_source

NAMES = (
    "ucf101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",  # a hand and a brush, in front of a wall
    "ucf101/Basketball/v_Basketball_g01_c01.avi",
    "ucf101/YoYo/v_YoYo_g13_c04.avi",
    "kinetics/carving_ice_rpi.mp4",
)


def frames_of(file, times):
    with contextlib.closing(open_source(file, 25.0)) as source:
        yield from zip(times, source.read(np.asarray(times)))


def gated(spec, frames):
    """Return if each window was without motion, and how often the model was asked."""
    asked = []
    stub = Shown(spec)
    stub.scores = lambda pixels, *, timing: asked.append(1) or np.full((1, 12), 1 / 12)
    stream = Stream(stub, stride=4, motion=MOTION)
    found = [stream.push(np.ascontiguousarray(image), float(time)) for time, image in frames]
    return [answer.live.still for answer in found if answer], len(asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_gate_lets_real_motion_through(motion_predictor, data, name):
    still, asked = gated(motion_predictor.spec, frames_of(data / name, np.arange(40) * TICK))
    assert still == [False] * 7
    assert asked == 7


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("noise", "gain", "offset"),
    [(0, 0, 0), (8, 0, 0), (3, 0.1, 0), (3, -0.3, 0), (3, 0, 15), (3, -0.1, 10)],
)
def test_noise_and_light_are_no_motion(motion_predictor, data, name, noise, gain, offset):
    """Add a sensor's noise (grey levels) and light that drifts to one real frame."""
    ((_, image),) = frames_of(data / name, [0.0])
    rng = np.random.default_rng(0)

    def frames():
        for k in range(16):
            lit = image * (1 + gain * k / 15) + offset * k / 15
            noisy = lit + rng.normal(0, noise, image.shape)
            yield k * TICK, noisy.clip(0, 255).astype(np.uint8)

    assert gated(motion_predictor.spec, frames()) == ([True], 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_small_thing_that_moves_is_motion(motion_predictor, data, name):
    """Move a square of a twelfth of the height, 40 grey levels off, across a quarter of it."""
    ((_, image),) = frames_of(data / name, [0.0])
    height, width = image.shape[:2]

    def frames():
        for k in range(16):
            shown = image.astype(int)
            top, left, side = height // 2, int(width * (0.3 + k / 60)), height // 12
            patch = shown[top : top + side, left : left + side]
            patch += np.where(patch.mean() < 128, 40, -40)
            yield k * TICK, shown.clip(0, 255).astype(np.uint8)

    assert gated(motion_predictor.spec, frames()) == ([False], 1)


def test_the_gate_sees_the_whole_window():
    clip = dataclasses.replace(spec_of_brightness().clip, offsets="linspace", frames=8)
    stream = Stream(Shown(spec_of_brightness(clip=clip)), stride=1, motion=MOTION)
    stream.predictor.scores = lambda pixels, timing: np.full((1, FRAMES), 1 / FRAMES)
    found = [stream.push(block(8 if k == 3 else 0), k / 25) for k in range(17)]
    (answer, *_) = (answer for answer in found if answer is not None)
    assert not answer.live.still


def test_a_still_window_says_so(predictor):
    stream = Stream(predictor, stride=1, motion=MOTION)
    found = push_all(stream, np.arange(12) * TICK, levels=[9] * 12)
    assert len(found) == 9
    for answer in found:
        assert (answer.live.still, answer.label, answer.score) == (True, "", 0)
        assert answer.timing.inference == 0
