"""Streams frame by frame: what a window holds, when it is due, what is made of its scores."""

import contextlib
import dataclasses
import threading
import tracemalloc

import numpy as np
import pytest
from models import FRAMES, brightness_model, grey_frames, levels, spec_of_brightness

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.errors import LowFrameRateWarning, SpecError, StreamWarning, UsageError, VideoError
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.live.smoothing import Decision
from r2p_edge.video.sampling import TIE
from r2p_edge.video.source import open_source

TICK = 0.08


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


class Shown:
    """Stands in for a predictor: keeps the level of each frame of each window that it is shown."""

    runtime = device = precision = "none"

    def __init__(self, spec=None, cost=lambda: None):
        self.spec = spec or spec_of_brightness()
        self.windows, self._cost = [], cost

    def scores(self, pixels, *, timing):
        (clip,) = pixels
        assert (clip == clip[:, :1, :1, :1]).all()
        self.windows.append(clip[:, 0, 0, 0].tolist())
        self._cost()
        return np.full((1, len(self.spec.labels)), 1 / len(self.spec.labels))


def grey(level, height=10, width=12):
    return grey_frames([level], height, width)[0]


def answers(stream, times, levels=None):
    """What a stream says to frames at these times, frame k of level k."""
    levels = range(len(times)) if levels is None else levels
    pushed = (stream.push(grey(level), float(time)) for level, time in zip(levels, times))
    return [answer for answer in pushed if answer is not None]


@pytest.fixture(scope="module")
def motion_predictor(motion_model):
    with Predictor(motion_model) as opened:
        yield opened


@pytest.fixture(scope="module")
def filmed(motion_predictor, tmp_path_factory):
    """What `predict` answers to some scenes at 25 fps; at other rates see below."""
    expected = {}
    for number in (0, 4, 8):  # a slide, a rotation, a shake
        file = tmp_path_factory.mktemp("scenes") / f"{number}.mp4"
        motion.write_video(motion.scene("test", number), file)
        expected[number] = motion_predictor.predict(file)
    return expected


def uneven(seed):
    steps = np.random.default_rng(seed).uniform(1 / 60, 1 / 20, 120)
    times = np.cumsum([0, *steps])
    return times[times < motion.DURATION]


@pytest.mark.parametrize("rate", [12.5, 25, 30, 50, 60, "uneven"])
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


@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
@pytest.mark.parametrize("seed", range(6))
def test_each_tick_takes_the_nearest_frame(seed):
    rng = np.random.default_rng(seed)
    times = 100 + np.cumsum(rng.uniform(0.001, rng.choice([0.02, 0.06, 0.15]), 200))
    shown = Shown()
    answers(Stream(shown, stride=1), times)
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
    answers(Stream(shown, stride=1), [0, 0.06, 0.1 - 5e-7, 0.16, 0.24])
    assert shown.windows == [[0, 1, 3, 4]]


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_a_frame_on_a_tick_answers_at_once(predictor, start):
    stream = Stream(predictor, stride=1)
    times = start + np.round(np.arange(20) / 25 - 0.0004, 3)
    found = [stream.push(grey(k), float(time)) is not None for k, time in enumerate(times)]
    assert found == [k >= 6 and k % 2 == 0 for k in range(20)]


def test_windows_come_every_stride(predictor):
    times = np.arange(60) / 25
    for options, ticks in [
        ({"stride": 3}, 3),
        ({"every": 0.31}, 4),
        ({"every": 0.01}, 1),
        ({}, FRAMES // 2),
    ]:
        ends = [answer.span[1] for answer in answers(Stream(predictor, **options), times)]
        expected = np.arange(FRAMES - 1, 30, ticks) * TICK
        np.testing.assert_allclose(ends, expected)


def test_answers_say_what_they_saw(predictor):
    (answer,) = answers(Stream(predictor, stride=9, name="door"), np.arange(8) / 25)
    assert levels(answer) == [0, 2, 4, 6]
    assert answer.span == (0, pytest.approx(0.24))
    assert (answer.coverage, answer.clips, answer.label) == (1, 1, "frame 3")
    assert (answer.live.image == grey(6)).all()
    report = answer.to_dict()
    assert (report["source"], report["still"], report["time"]) == ("door", False, 0.24)


def test_images_are_rgb_again(predictor):
    blue = np.zeros((9, 9, 3), np.uint8)
    blue[..., 0] = 200
    stream = Stream(predictor, color="BGR")
    answer = [stream.push(blue, k * TICK) for k in range(4)][-1]
    assert answer.live.image[0, 0].tolist() == [0, 0, 200]


def test_a_pushed_array_may_be_overwritten(predictor):
    shown, buffer = Shown(), grey(0)
    stream = Stream(shown, stride=1)
    for k, time in enumerate(np.arange(40) / 30):
        buffer[:] = k
        stream.push(buffer, float(time))
        buffer[:] = 255
    assert shown.windows[0] == [0, 2, 5, 7]
    assert 255 not in np.array(shown.windows)


def test_a_slow_source_repeats_frames_and_warns(predictor):
    stream = Stream(predictor, stride=1)
    with pytest.warns(LowFrameRateWarning, match="8 frames a second .* looks at 12.5"):
        found = answers(stream, np.arange(4) / 8)
    assert levels(found[-1]) == [0, 0, 1, 2]
    assert found[-1].coverage == 0.75


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


def test_a_short_loss_is_told_by_the_coverage():
    clip = dataclasses.replace(spec_of_brightness().clip, frames=8)
    shown = Shown(spec_of_brightness(clip=clip))
    (answer,) = answers(Stream(shown, stride=9), np.delete(np.arange(15) / 25, range(5, 12)))
    assert shown.windows == [[0, 2, 4, 4, 4, 5, 5, 7]]
    assert (answer.coverage, answer.live.gaps) == (5 / 8, 0)


def test_a_window_that_an_interruption_took_is_skipped():
    stream = Stream(Shown(), stride=1)
    for k in range(11):
        stream.add(grey(k), k / 25)
    assert stream.push(grey(0), 9.0) is None
    *_, answer = answers(stream, 9 + np.arange(1, 8) / 25)
    assert (answer.live.skipped, answer.live.gaps) == (3, 1)


def test_the_same_frame_again_changes_nothing():
    shown = Shown()
    answers(Stream(shown, stride=1), np.repeat(np.arange(8) / 25, 2), np.repeat(np.arange(8), 2))
    assert shown.windows == [[0, 2, 4, 6]]


def test_only_frames_that_a_window_needs_are_preprocessed(monkeypatch):
    shown = Shown()
    stream = Stream(shown, stride=25)
    made, frame = [], stream.buffer._preprocessor.frame
    monkeypatch.setattr(
        stream.buffer._preprocessor,
        "frame",
        lambda image, *rest: (made.append(int(image[0, 0, 0])), frame(image, *rest)),
    )
    answers(stream, np.arange(120) / 25)
    assert shown.windows == [[0, 2, 4, 6], [50, 52, 54, 56], [100, 102, 104, 106]]
    used = {time + offset for time in (0, 50, 100) for offset in range(7)}
    assert set(made) <= used | {48, 49, 98, 99}


def test_uneven_offsets():
    clip = dataclasses.replace(spec_of_brightness().clip, offsets="linspace")
    shown = Shown(spec_of_brightness(clip=clip))
    answers(Stream(shown, stride=1), np.arange(12) / 25)
    offsets = np.linspace(0, 8, 4).clip(0, 7).astype(int)  # as the model was trained
    assert shown.windows == [(start + offsets).tolist() for start in (0, 2, 4)]


def test_breaking_off_again_and_again_warns_once():
    stream = Stream(Shown(), name="yard")
    with pytest.warns(
        StreamWarning, match=r"yard gives no answer: .* 10 times .* in seconds"
    ) as told:
        assert answers(stream, 40.0 * np.arange(30)) == []  # milliseconds
    assert len(told) == 1
    assert answers(stream, 2000 + np.arange(8) / 25)


@pytest.mark.parametrize("order", ["temporal", "lexicographic"])
def test_a_model_that_counts_frames_is_refused(order):
    clip = dataclasses.replace(spec_of_brightness().clip, sampling="index", order=order)
    with pytest.raises(SpecError, match="--order temporal"):
        Stream(Shown(spec_of_brightness(clip=clip)))


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


SCORES = [[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("options", "expected", "last"),
    [
        ({}, [0, 1, 0, 1, 1], [0.2, 0.8]),
        ({"smoothing": 1.0}, [0, 1, 0, 1, 1], [0.2, 0.8]),
        ({"smoothing": 0.5}, [0, 0, 0, 1, 1], [0.2875, 0.7125]),
        ({"majority": 3}, [0, 0, 0, 1, 1], [1 / 3, 2 / 3]),
        ({"hysteresis": 0.3}, [0, 0, 0, 1, 1], [0.2, 0.8]),
        ({"min_score": 0.75}, [0, None, None, 1, 1], [0.2, 0.8]),
    ],
)
def test_decisions(options, expected, last):
    decision = Decision(
        **{"smoothing": None, "majority": None, "hysteresis": 0, "min_score": 0} | options
    )
    found = [decision.decide(np.array(scores), 0) for scores in SCORES]
    assert [label for _, label in found] == expected
    np.testing.assert_allclose(found[-1][0], last)
    # After an interruption the scores before it count for nothing.
    np.testing.assert_array_equal(decision.decide(np.array([0.9, 0.1]), 1)[0][0] >= 0.9, True)


def test_no_label_below_the_score(predictor):
    stream = Stream(predictor, stride=1, min_score=0.9)
    found = answers(stream, np.arange(9) / 25, levels=[0, 0, 0, 0, 0, 0, 0, 0, 9])
    assert [answer.label for answer in found] == ["", "frame 3"]
    assert (found[0].live.label, found[0].to_dict()["label"]) == (None, None)
    assert found[0].score == pytest.approx(0.25)


def test_a_writer_at_full_speed_changes_no_window_in_use():
    """Frame k is all k; a window in use must stay four successive even frames."""
    taken, done = [], threading.Event()
    stream = Stream(Shown(), stride=1)

    def write():
        for k in range(8000):
            stream.add(grey(k % 250), k / 25)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        window = stream.buffer.take()
        if window is not None:
            taken.append((window, window.pixels.copy()))
            del taken[:-8]
            for held, copy in taken:
                np.testing.assert_array_equal(held.pixels, copy)
            assert (window.pixels == window.pixels[:, :1, :1, :1]).all()
            shown = window.pixels[:, 0, 0, 0].astype(int)
            assert (np.diff(shown) % 250 == 2).all()
            assert shown[-1] == round(window.span[1] * 25) % 250
    writer.join()
    assert taken


def test_every_window_is_given_to_one_of_two_consumers(predictor):
    stream, found, done = Stream(predictor, stride=1), [], threading.Event()

    def consume():
        while not done.is_set():
            answer = stream.answer()
            if answer is not None:
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


@pytest.mark.parametrize("inference", [0.07, 0.13, 0.4, 1.7])
@pytest.mark.parametrize("interval", [1, 2])
def test_ten_minutes_never_lag(inference, interval):
    """30 fps on a simulated clock; while the model runs, the camera goes on."""
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


# The motion gate.

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
    """Whether each window was still, and how often the model was asked."""
    asked = []
    stub = Shown(spec)
    stub.scores = lambda pixels, *, timing: asked.append(1) or np.full((1, 12), 1 / 12)
    stream = Stream(stub, stride=4, motion=MOTION)
    found = [stream.push(np.ascontiguousarray(image), float(time)) for time, image in frames]
    return [answer.live.still for answer in found if answer], len(asked)


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_lets_real_motion_through(motion_predictor, data, name):
    still, asked = gated(motion_predictor.spec, frames_of(data / name, np.arange(40) * TICK))
    assert still == [False] * 7
    assert asked == 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("noise", "gain", "offset"),
    [(0, 0, 0), (8, 0, 0), (3, 0.1, 0), (3, -0.3, 0), (3, 0, 15), (3, -0.1, 10)],
)
def test_noise_and_light_are_no_motion(motion_predictor, data, name, noise, gain, offset):
    """One real frame, with a sensor's noise (grey levels) and light that drifts over the window."""
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
    """A square of a twelfth of the height, 40 grey levels off, crosses a quarter of the frame."""
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


def block(column):
    """A light block on a dark picture."""
    image = grey(20, 16, 16)
    image[4:12, column : column + 8] = 220
    return image


def test_labels_do_not_last_through_stillness():
    certain = [[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    shown = Shown()
    shown.scores = lambda pixels, timing: np.array([certain.pop(0)])
    stream = Stream(shown, stride=4, majority=3, hysteresis=0.9, motion=MOTION)
    columns = [0, 8] * 4 + [0] * 12 + [0, 8] * 2
    found = [stream.push(block(column), k * TICK) for k, column in enumerate(columns)]
    found = [answer for answer in found if answer is not None]
    assert [answer.live.still for answer in found] == [False] * 2 + [True] * 3 + [False]
    assert found[1].label == "frame 0"
    assert (found[-1].label, found[-1].score) == ("frame 1", 1)


def test_the_gate_sees_the_whole_window():
    clip = dataclasses.replace(spec_of_brightness().clip, offsets="linspace", frames=8)
    stream = Stream(Shown(spec_of_brightness(clip=clip)), stride=1, motion=MOTION)
    stream._predictor.scores = lambda pixels, timing: np.full((1, FRAMES), 1 / FRAMES)
    found = [stream.push(block(8 if k == 3 else 0), k / 25) for k in range(17)]
    (answer, *_) = (answer for answer in found if answer is not None)
    assert not answer.live.still


def test_a_still_window_says_so(predictor):
    stream = Stream(predictor, stride=1, motion=MOTION)
    found = answers(stream, np.arange(12) * TICK, levels=[9] * 12)
    assert len(found) == 9
    for answer in found:
        assert (answer.live.still, answer.label, answer.score) == (True, "", 0)
        assert answer.timing.inference == 0
