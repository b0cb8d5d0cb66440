"""Streams frame by frame: when a prediction is due, and what it says."""

import dataclasses
import threading
import tracemalloc
import warnings

import numpy as np
import pytest
from live import TICK, Shown, block, grey, push_all
from models import FRAMES, levels, spec_of_brightness

from r2p_edge import Stream
from r2p_edge.calibration import motion
from r2p_edge.errors import LowFrameRateWarning, StreamWarning, UsageError, VideoError


@pytest.fixture(scope="module")
def filmed(motion_predictor, tmp_path_factory):
    """Return what `predict` answers to some scenes at 25 fps, the reference for other rates."""
    expected = {}
    for number in (0, 4, 8):  # a slide, a rotation, a shake
        file = tmp_path_factory.mktemp("scenes") / f"{number}.mp4"
        motion.write_video(motion.scene("test", number), file)
        expected[number] = motion_predictor.predict(file)
    return expected


def uneven(seed):
    """Return times of frames at a rate that changes from frame to frame."""
    steps = np.random.default_rng(seed).uniform(1 / 60, 1 / 20, 120)
    times = np.cumsum([0, *steps])
    return times[times < motion.DURATION]


@pytest.mark.parametrize(
    "rate",
    [12.5, 25, "uneven", *(pytest.param(rate, marks=pytest.mark.slow) for rate in (30, 50, 60))],
)
def test_every_frame_rate_gives_the_answer_of_the_file(motion_predictor, filmed, rate):
    for number, expected in filmed.items():
        scene = motion.scene("test", number)
        times = uneven(number) if rate == "uneven" else motion.frame_times(rate)
        stream = Stream(motion_predictor, stride=1)
        begin = 5e4  # a clock of the camera's own
        found = [stream.push(scene.draw(float(time)), begin + time) for time in times]
        same = [a for a in found if a and abs(a.span[0] - begin - expected.span[0]) < 0.03]
        (answer,) = same
        assert answer.label == expected.label
        np.testing.assert_allclose(answer.scores, expected.scores, atol=0.05)


def test_windows_come_every_stride(predictor):
    times = np.arange(60) / 25
    for options, ticks in [
        ({"stride": 3}, 3),
        ({"every": 0.31}, 4),
        ({"every": 0.01}, 1),
        ({}, FRAMES // 2),
    ]:
        ends = [answer.span[1] for answer in push_all(Stream(predictor, **options), times)]
        expected = np.arange(FRAMES - 1, 30, ticks) * TICK
        np.testing.assert_allclose(ends, expected)


def test_answers_say_what_they_saw(predictor):
    (answer,) = push_all(Stream(predictor, stride=9, name="door"), np.arange(8) / 25)
    assert levels(answer) == [0, 2, 4, 6]
    assert answer.span == (0, pytest.approx(0.24))
    assert (answer.coverage, answer.clips, answer.label) == (1, 1, "frame 3")
    assert (answer.live.image == grey(6)).all()
    report = answer.to_dict()
    assert (report["source"], report["still"], report["time"]) == ("door", False, 0.24)


def test_a_slow_source_repeats_frames_and_warns(predictor):
    stream = Stream(predictor, stride=1)
    with pytest.warns(LowFrameRateWarning, match="8 frames a second .* looks at 12.5"):
        found = push_all(stream, np.arange(4) / 8)
    assert levels(found[-1]) == [0, 0, 1, 2]
    assert found[-1].coverage == 0.75


def test_breaking_off_again_and_again_warns_once():
    stream = Stream(Shown(), name="yard")
    with pytest.warns(
        StreamWarning, match=r"yard gives no answer: .* 10 times .* in seconds"
    ) as told:
        assert push_all(stream, 40.0 * np.arange(30)) == []  # milliseconds
    assert len(told) == 1
    assert push_all(stream, 2000 + np.arange(8) / 25)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 0},
        {"every": 0.0},
        {"every": float("nan")},
        {"stride": 2, "every": 1.0},
        {"smoothing": 0.0},
        {"smoothing": 0.5, "majority": 3},
        {"majority": 0},
        {"hysteresis": -0.1},
        {"min_score": 1.1},
        {"motion": 0.0},
        {"color": "GBR"},
    ],
)
def test_bad_options(options):
    with pytest.raises(UsageError, match=next(reversed(options))):
        Stream(Shown(), **options)


def test_bad_frames():
    stream = Stream(Shown())
    with pytest.raises(VideoError, match="dtype float"):
        stream.push(np.zeros((9, 9, 3)))
    with pytest.raises(VideoError, match="expected"):
        stream.push(np.zeros((9, 9), np.uint8))
    with pytest.raises(UsageError, match="time of a frame is nan"):
        stream.push(grey(0), float("nan"))


def test_no_label_below_the_score(predictor):
    stream = Stream(predictor, stride=1, min_score=0.9)
    found = push_all(stream, np.arange(9) / 25, levels=[0, 0, 0, 0, 0, 0, 0, 0, 9])
    assert [answer.label for answer in found] == ["", "frame 3"]
    assert (found[0].live.label, found[0].to_dict()["label"]) == (None, None)
    assert found[0].score == pytest.approx(0.25)


def test_every_window_is_given_to_one_of_two_consumers(predictor):
    stream, found, done = Stream(predictor, stride=1), [], threading.Event()

    def consume():
        finished = False
        while not finished:
            finished = done.is_set()  # and then once more, for what is due still
            while (answer := stream.answer()) is not None:
                found.append(answer)

    consumers = [threading.Thread(target=consume) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for k in range(2000):
        stream.add(grey(k % 250), k / 25)
    done.set()
    for consumer in consumers:
        consumer.join()
    ends = [answer.span[1] for answer in found]
    assert len(set(ends)) == len(ends)
    skipped = max(answer.live.skipped for answer in found)
    last = round(max(ends) / TICK)
    assert len(found) + skipped == last - (FRAMES - 1) + 1


@pytest.mark.slow
@pytest.mark.parametrize("inference", [0.07, 0.13, 0.4, 1.7])
@pytest.mark.parametrize("interval", [1, 2])
def test_ten_minutes_never_lag(inference, interval):
    """Film 30 fps on a simulated clock; while the model runs, the camera goes on."""
    now, frame = 0.0, 0
    clip = dataclasses.replace(spec_of_brightness().clip, frames=4, interval=interval)

    def film(until):
        nonlocal now, frame
        while frame / 30 <= until:
            now = frame / 30
            stream.add(grey(frame % 250), frame / 30)
            frame += 1
        now = until

    shown = Shown(spec_of_brightness(clip=clip), cost=lambda: film(now + inference))
    stream = Stream(shown, stride=1, clock=lambda: now)
    ages, last = [], None
    while now < 600:
        answer = stream.answer()
        if answer is None:
            film(frame / 30)
        else:
            ages.append(answer.live.age_ms)
            last = answer.live
    assert len(ages) > 590 / max(2 * inference, 2 * clip.tick)
    assert max(ages) < 2 * inference * 1e3
    assert last.gaps == 0
    windows = round(600 / clip.tick) - (FRAMES - 1)
    assert abs(len(ages) + last.skipped - windows) <= 2 * inference / clip.tick + 2
    # No tick frame was lost, however many answers were.
    steps = np.diff(np.array(shown.windows, int)) % 250
    assert set(steps.ravel()) <= {round(clip.tick * 30 + d) for d in (-0.5, 0, 0.5)}


@pytest.mark.slow
def test_memory_is_flat():
    stream = Stream(Shown())
    image = grey(0)

    def film(start, count):
        for k in range(start, start + count):
            stream.push(image, k / 25)

    film(0, 500)
    tracemalloc.start()
    try:
        film(500, 500)
        before, _ = tracemalloc.get_traced_memory()
        film(1000, 20_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 2e6


@pytest.mark.parametrize("feed", ["push", "answer"])
def test_a_warning_points_to_its_caller(feed):
    stream = Stream(Shown(), stride=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for k in range(8):
            if feed == "push":
                stream.push(grey(k), k / 8)
            else:
                stream.add(grey(k), k / 8)
                stream.answer()
        for k in range(20):
            stream.push(grey(k), 100.0 * k)
    assert [warning.category for warning in told] == [LowFrameRateWarning, StreamWarning]
    assert [warning.filename for warning in told] == [__file__] * 2


def test_the_timing_covers_what_was_done(predictor):
    stream = Stream(predictor, stride=1, motion=15.0)
    pushed = [stream.push(block(8 if k == 3 else 0), k * TICK) for k in range(18)]
    answers = [answer for answer in pushed if answer is not None]
    assert {answer.live.still for answer in answers} == {False, True}
    for timing in (answer.timing for answer in answers):
        assert timing.total >= timing.decode + timing.preprocess + timing.inference - 1e-6


@pytest.mark.parametrize("name", ["stride", "every", "smoothing", "majority", "motion"])
def test_true_is_no_number(name):
    with pytest.raises(UsageError, match=f"{name} is True"):
        Stream(Shown(), **{name: True})


def test_a_reset_begins_another_recording(predictor):
    """It is an interruption for the labels, and no sign of a source that breaks off."""
    stream = Stream(predictor, stride=1, smoothing=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(20):
            found = push_all(stream, np.arange(8) / 25 + number)
            assert [levels(answer) for answer in found] == [[0, 2, 4, 6]]
            assert found[0].live.gaps == number
            np.testing.assert_allclose(found[0].scores.sum(), 1, rtol=1e-6)
            push_all(stream, np.arange(3) / 25 + number + 0.32)
            stream.reset()
