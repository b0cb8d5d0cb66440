"""The bundled model sees motion, and nothing but motion."""

import json
from importlib import resources

import numpy as np
import pytest

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.errors import LowFrameRateWarning

CLIPS = 4 * len(motion.CLASSES)
MOVING = [label for label in motion.CLASSES if label != "still"]


@pytest.fixture(scope="module")
def predictor(motion_model):
    with Predictor(motion_model) as opened:
        yield opened


def drawn(number, times=None):
    scene = motion.scene("test", number)
    times = motion.frame_times() if times is None else times
    return np.stack([scene.draw(time) for time in times])


@pytest.fixture(scope="module")
def videos():
    return [(motion.CLASSES[n % len(motion.CLASSES)], drawn(n)) for n in range(CLIPS)]


@pytest.mark.long
def test_held_out_clips(predictor, videos):
    right = [predictor.predict(video).label == label for label, video in videos]
    assert np.mean(right) >= 0.95


@pytest.mark.long
def test_a_frozen_frame_does_not_show_its_class(predictor, videos):
    """Chance is 1 in 11 moving classes: 44 clips at chance give 9 or fewer 99 % of the time."""
    moving = [(label, video) for label, video in videos if label in MOVING]
    for position in (0.1, 0.5, 0.9):
        frozen = [np.repeat(v[[int(position * len(v))]], len(v), axis=0) for _, v in moving]
        answers = [predictor.predict(video).label for video in frozen]
        right = sum(answer == label for answer, (label, _) in zip(answers, moving))
        assert right <= 9, f"{right} of {len(moving)} frozen clips are still told apart"


def test_one_frame_looks_alike_in_every_class():
    """Size, position and opacity of the patch at a random moment do not depend on the class."""
    rng = np.random.default_rng(0)
    span = (motion.DURATION - motion.SPAN) / 2 + rng.uniform(0, motion.SPAN, 400)

    def poses(label):
        scenes = (motion.Scene(label, [9, n]) for n in range(400))
        found = [scene.pose(time) for scene, time in zip(scenes, span)]
        return np.array([[p.x, p.y, np.sin(p.angle), p.scale, p.opacity] for p in found])

    still = poses("still")
    for label in MOVING:
        other = poses(label)
        for quantile in (0.1, 0.5, 0.9):
            difference = np.quantile(other, quantile, axis=0) - np.quantile(still, quantile, axis=0)
            spread = still.std(axis=0)
            assert np.abs(difference / spread).max() < 0.45, (label, quantile)


@pytest.mark.slow
def test_played_backwards_the_opposite_is_seen(predictor, videos):
    opposite = motion.REVERSED | {other: label for label, other in motion.REVERSED.items()}
    pairs = [(opposite[label], video) for label, video in videos if label in opposite]
    right = [predictor.predict(video[::-1]).label == label for label, video in pairs]
    assert len(pairs) == 8 * CLIPS // len(motion.CLASSES)
    assert np.mean(right) >= 0.95


def irregular(seed):
    """Draw the times of a camera that takes 16 to 48 ms per frame, unevenly."""
    steps = np.random.default_rng(seed).uniform(0.016, 0.048, 200)
    times = np.cumsum(steps) - steps[0]
    return times[times < motion.DURATION]


@pytest.mark.parametrize(
    "number",
    [  # two classes in the fast tests
        pytest.param(number, marks=pytest.mark.long if number > 1 else ())
        for number in range(len(motion.CLASSES))
    ],
)
def test_any_frame_rate_shows_the_same_motion(predictor, tmp_path, number):
    answers = {}
    for rate in (25, 12.5, 30, 50, 60, "irregular"):
        path = tmp_path / f"{rate}.mp4"
        times = irregular(number) if rate == "irregular" else motion.frame_times(rate)
        motion.write_video(motion.scene("test", number), path, times)
        answers[rate] = predictor.predict(path)
    for rate, answer in answers.items():
        assert answer.label == motion.CLASSES[number], rate
        difference = np.abs(answer.scores - answers[25].scores).max()
        assert difference <= 0.05, f"{rate} fps: probabilities differ by {difference:.3f}"


def test_array_and_file_agree(predictor, tmp_path):
    """Coding costs a little; reading other frames would cost much more."""
    path = tmp_path / "clip.mp4"
    motion.write_video(motion.scene("test", 0), path)
    difference = np.abs(predictor.predict(path).scores - predictor.predict(drawn(0)).scores)
    assert difference.max() <= 0.05


def test_figures_are_those_of_the_shipped_weights():
    assets = resources.files("r2p_edge") / "assets"
    figures = json.loads((assets / "motion.json").read_text())
    assert figures["weights"] == "float16"
    assert figures["test_top1"] >= 0.95
    assert figures["test_clips"] >= 200
    assert 3e6 < (assets / "motion.safetensors").stat().st_size < 5e6


def test_scenes_are_reproducible():
    one, two = (motion.scene("test", 5).draw(0.7) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (motion.scene("train", 5).draw(0.7) != one).any()
    with pytest.raises(ValueError, match="'wobble' is unknown; it is one of slide left"):
        motion.Scene("wobble", 0)


def test_a_rate_below_the_ticks_warns(predictor, tmp_path):
    path = tmp_path / "slow.mp4"
    motion.write_video(motion.scene("test", 0), path, motion.frame_times(5))
    with pytest.warns(LowFrameRateWarning, match="5 frames a second"):
        predictor.predict(path)
