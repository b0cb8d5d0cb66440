"""Streams that keep features: what they answer, and what empties them."""

import dataclasses
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from live import TICK, Camera, block, grey, wait_for, watch
from models import brightness_model
from per_frame_models import (
    FRAMES,
    WAIT,
    causal_outputs,
    noise,
    outputs,
    write_per_frame_model,
    write_semi_causal_model,
)

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.errors import BackendError, ModelError, SpecError, StreamWarning, UsageError
from r2p_edge.live.frame import LiveFrame
from r2p_edge.live.stream import predict_windows

BORDERS = pytest.mark.parametrize("border", ["flush", "wait"])
_WAITS = {"flush": 0, "wait": WAIT}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_per_frame_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def keeping(model):
    with Predictor(model, runtime="onnxruntime", threads=1) as opened:
        yield opened


def push(stream, frames, start=0.0):
    """Push a frame at each tick; return the answers by the frame that they came with."""
    found = {}
    for number, frame in enumerate(frames):
        answer = stream.push(frame, start + number * TICK)
        if answer is not None:
            found[number] = answer
    return found


def check(found, frames, border, ends):
    """Compare answers on frames at each tick, from the first on, with those of NumPy."""
    first = ends[0]
    wait = _WAITS[border]
    assert list(found) == [first, *(end + wait for end in ends[1:] if end + wait < len(frames))]
    for came, answer in found.items():
        exact = came == first
        end = came if exact else came - wait
        wanted = outputs(
            frames, end, wait=0 if exact else wait, first=end - FRAMES + 1 if exact else 0
        )
        np.testing.assert_array_equal(answer.scores, wanted.astype(np.float32))
        assert answer.live.exact == exact
        assert answer.live.lag == pytest.approx(0 if exact else wait * TICK)
        assert answer.span[1] - answer.span[0] == pytest.approx((FRAMES - 1) * TICK)
        assert (answer.live.image == frames[end]).all()


@BORDERS
@pytest.mark.parametrize("stride", [1, 3, 8])
def test_answers_are_those_of_numpy(keeping, border, stride):
    frames = noise(40)
    stream = Stream(keeping, stride=stride, reuse="features", border=border)
    found = push(stream, frames)
    check(found, frames, border, range(FRAMES - 1, 40, stride))
    windows = push(Stream(keeping, stride=stride), frames)
    ends = [answer.span for answer in found.values()]
    assert ends == [answer.span for answer in windows.values()][: len(ends)]


def test_the_default_border_does_not_wait(keeping):
    frames = noise(12)
    found = push(Stream(keeping, stride=1, reuse="features"), frames)
    check(found, frames, "flush", range(FRAMES - 1, 12))


@BORDERS
@pytest.mark.parametrize(
    "event", ["frames are missing", "time goes back", "another size", "reconnection", "reset"]
)
def test_no_bit_depends_on_what_was_before_an_interruption(keeping, border, event):
    """Compare with a stream that never saw anything else."""
    frames = noise(30)
    options = {"stride": 1, "reuse": "features", "border": border}
    fresh = push(Stream(keeping, **options), frames)
    stream = Stream(keeping, **options)
    if event == "another size":
        before = np.random.default_rng(1).integers(0, 256, (19, 16, 16, 3), np.uint8)
    else:
        before = noise(19, seed=1)
    push(stream, before)
    start = 19 * TICK
    if event == "frames are missing":
        start += 60.0
    elif event == "time goes back":
        start = -5.0
    elif event == "reset":
        stream.reset()
    elif event == "reconnection":
        image = frames[0]
        add = partial(LiveFrame, start, 0.0, image.shape[:2], lambda: image, joined=False)
        for _ in stream.buffer.add(add()):
            pass
        assert stream.answer() is None
        frames, start = frames[1:], start + TICK
    found = push(stream, frames, start)
    if event == "reconnection":
        found = {number + 1: answer for number, answer in found.items()}
    assert found.keys() == fresh.keys()
    for number, answer in found.items():
        np.testing.assert_array_equal(answer.scores, fresh[number].scores)
        assert answer.live.exact == fresh[number].live.exact
        assert answer.live.gaps == 1


@BORDERS
@pytest.mark.parametrize("rate", [12.5, 25, 30, 50, 60, "uneven"])
def test_frame_rates_are_sampled_as_windows_are(keeping, border, rate, monkeypatch):
    if rate == "uneven":
        times = np.cumsum(np.random.default_rng(3).uniform(1 / 60, 1 / 20, 60))
    else:
        times = np.arange(round(2 * rate)) / rate
    images, shown = noise(len(times)), []
    scores = keeping.scores

    def kept(pixels, *, timing):
        shown.append(pixels[0].copy())
        return scores(pixels, timing=timing)

    def pushed(**options):
        stream = Stream(keeping, stride=1, **options)
        pairs = zip(images, times)
        return [a for image, time in pairs if (a := stream.push(image, float(time)))]

    monkeypatch.setattr(keeping, "scores", kept)
    windows = pushed()
    ticks = np.stack([*shown[0], *(window[-1] for window in shown[1:])])
    monkeypatch.undo()
    found = pushed(reuse="features", border=border)
    wait = _WAITS[border]
    assert len(found) >= 15
    spans = [answer.span for answer in windows]
    for answer in found:
        number = spans.index(answer.span)
        assert answer.coverage == windows[number].coverage
        if not answer.live.exact:
            wanted = outputs(ticks, number + FRAMES - 1, wait=wait)
            np.testing.assert_array_equal(answer.scores, wanted.astype(np.float32))


@BORDERS
def test_features_go_on_where_nothing_moves(tmp_path, keeping, border):
    """The motion gate saves the answers and not the frames, of which later windows have some."""
    still, moving = grey(20, 8, 8), [block(3)[4:12, column : column + 8] for column in range(8)]
    frames = np.stack([still] * 20 + [moving[k % 8] for k in range(12)])
    stream = Stream(keeping, stride=1, reuse="features", border=border, motion=15)
    found = push(stream, frames)
    wait = _WAITS[border]
    kinds = [answer.live.still for answer in found.values()]
    assert kinds[:10] == [True] * 10
    assert kinds[-5:] == [False] * 5
    for came, answer in found.items():
        if not answer.live.still:
            wanted = outputs(frames, came - wait, wait=wait)
            np.testing.assert_array_equal(answer.scores, wanted.astype(np.float32))
        assert answer.live.exact == answer.live.still


def test_a_consumer_that_is_late_misses_answers_and_no_frames(keeping):
    frames = noise(30)
    stream = Stream(keeping, stride=1, reuse="features")
    push(stream, frames[:20])
    for number in range(20, 26):
        stream.add(frames[number], number * TICK)
    answer = stream.answer()
    np.testing.assert_array_equal(answer.scores, outputs(frames, 25).astype(np.float32))
    assert (answer.live.skipped, answer.live.gaps) == (5, 0)
    assert (answer.live.image == frames[25]).all()
    assert stream.answer() is None


@BORDERS
def test_a_burst_of_two_windows_loses_nothing(keeping, border):
    """A source that stood still may send the frames of two seconds at once."""
    frames = noise(20 + 2 * FRAMES)
    stream = Stream(keeping, stride=1, reuse="features", border=border)
    push(stream, frames[:20])
    for number in range(20, len(frames)):
        stream.add(frames[number], number * TICK)
    answer = stream.answer()
    wait, last = _WAITS[border], len(frames) - 1
    wanted = outputs(frames, last - wait, wait=wait)
    np.testing.assert_array_equal(answer.scores, wanted.astype(np.float32))
    assert (answer.live.image == frames[last - wait]).all()
    assert (answer.live.gaps, answer.live.skipped) == (0, 2 * FRAMES - 1)


@BORDERS
def test_frames_that_are_lost_empty_the_state(keeping, border):
    """A consumer that is late by more than two windows has lost some, and begins anew."""
    frames = noise(70)
    stream = Stream(keeping, stride=1, reuse="features", border=border, name="door")
    push(stream, frames[:20])
    lost = 2 * FRAMES + 1
    for number in range(20, 20 + lost):
        stream.add(frames[number], number * TICK)
    with pytest.warns(StreamWarning, match=r"door: the model was more than 1\.28 s late"):
        assert stream.answer() is None
    later = frames[20 + lost :]
    found = push(stream, later, (20 + lost) * TICK)
    check(found, later, border, range(FRAMES - 1, len(later)))
    answer = found[FRAMES - 1]
    assert answer.live.gaps == 1
    assert answer.live.skipped == lost + _WAITS[border]


def test_a_step_that_fails_begins_anew(keeping, monkeypatch):
    frames = noise(40)
    stream = Stream(keeping, stride=1, reuse="features")
    push(stream, frames[:12])
    run = type(stream._features._first).run
    monkeypatch.setattr(
        type(stream._features._first), "run", lambda _: (_ for _ in ()).throw(BackendError("full"))
    )
    with pytest.raises(BackendError, match="full"):
        stream.push(frames[12], 12 * TICK)
    monkeypatch.setattr(type(stream._features._first), "run", run)
    later = frames[13:]
    check(push(stream, later, 13 * TICK), later, "flush", range(FRAMES - 1, len(later)))


@BORDERS
def test_several_cameras_are_one_call(keeping, border, monkeypatch):
    streams = [Stream(keeping, stride=1, reuse="features", border=border) for _ in range(3)]
    frames = [noise(20, seed) for seed in range(3)]
    batches, calls = keeping.per_frame.batches, []
    together = batches.outputs
    monkeypatch.setattr(batches, "outputs", lambda each: calls.append(len(each)) or together(each))
    asked = 0
    for number in range(20):
        due = []
        for stream, images in zip(streams, frames):
            stream.add(images[number], number * TICK)
            due.append((stream, stream.buffer.take()))
        answers = predict_windows(due)
        for seen, answer in zip(frames, answers):
            if not answer.live.exact:
                wait = _WAITS[border]
                wanted = outputs(seen, number - wait, wait=wait)
                np.testing.assert_array_equal(answer.scores, wanted.astype(np.float32))
        asked += bool(answers) and not answers[0].live.exact
    assert calls == [3] * asked != []


def test_cameras_with_features_and_with_windows_are_answered_together(keeping):
    frames = noise(12)
    streams = [Stream(keeping, stride=1, name="whole")]
    streams += [Stream(keeping, stride=1, name="kept", reuse="features")]
    names = []
    for number, frame in enumerate(frames):
        for stream in streams:
            stream.add(frame, number * TICK)
        due = [(stream, stream.buffer.take()) for stream in streams]
        answers = predict_windows([each for each in due if each[1] is not None])
        names += [(a.live.source, a.live.exact) for a in answers]
    assert names == [("whole", True), ("kept", True), *[("whole", True), ("kept", False)] * 4]


@BORDERS
def test_a_file_is_answered_at_each_tick(keeping, border, clip):
    with keeping.stream(clip, stride=1) as answers:
        windows = list(answers)
    with keeping.stream(clip, stride=1, reuse="features", border=border) as answers:
        found = list(answers)
    assert [a.span for a in found] == [a.span for a in windows][: len(windows) - _WAITS[border]]
    assert [a.live.exact for a in found] == [True] + [False] * (len(found) - 1)
    np.testing.assert_array_equal(found[0].scores, windows[0].scores)
    assert {a.live.skipped for a in found} == {0}
    for answer in found:
        timing = answer.timing
        parts = timing.decode + timing.preprocess + timing.inference
        assert min(timing.decode, timing.preprocess, timing.inference) > 0
        assert timing.total >= parts - 1e-6


@pytest.mark.slow
def test_two_consumers_share_the_answers(keeping, clip):
    options = {"stride": 1, "reuse": "features"}
    alone = [(a.span, a.scores.tolist()) for a in keeping.stream(clip, **options)]
    sources = {"one": clip, "two": clip}
    for _ in range(5):
        found = {"one": [], "two": []}
        with keeping.stream_many(sources, **options) as answers:

            def consume(answers=answers, found=found):
                for a in answers:
                    found[a.live.source].append((a.span, a.scores.tolist()))

            consumers = [threading.Thread(target=consume) for _ in range(3)]
            for consumer in consumers:
                consumer.start()
            for consumer in consumers:
                consumer.join()
        assert sorted(found["one"]) == sorted(found["two"]) == alone


@pytest.mark.usefixtures("no_thread_is_left")
def test_latest_skips_answers_and_no_frames(keeping):
    camera = Camera()
    with watch(keeping, camera, stride=1, reuse="features") as answers:
        buffer = answers._feeds[0].stream.buffer
        camera.show(15)
        first = next(answers)
        assert first.live.exact
        camera.show(12)  # the consumer is busy meanwhile
        wait_for(answers, lambda: buffer._tick == 13)
        second = next(answers)
    assert second.span == (pytest.approx(12 / 25), pytest.approx(26 / 25))
    assert (second.live.skipped, second.live.gaps, second.live.exact) == (5, 0, False)


@BORDERS
def test_no_frame_allocates(tmp_path, border):
    """Nothing of a frame's size is made for each of them, and nothing is left."""
    size, count = 96, 300
    frames = np.random.default_rng(0).integers(0, 256, (25, size, size, 3), np.uint8)
    path = write_per_frame_model(tmp_path, size=size)
    with Predictor(path, runtime="onnxruntime", threads=1) as predictor:
        stream = Stream(predictor, stride=1, reuse="features", border=border)

        def run(start):
            for number in range(count):
                stream.push(frames[number % 25], start + number * TICK)

        run(0.0)
        tracemalloc.start()
        try:
            run(count * TICK)
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            run(2 * count * TICK)
            after, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert after - before < 1 << 13
    assert peak - before < 1 << 16


@pytest.mark.parametrize("wait", [0, 3])
def test_a_model_that_answers_at_each_frame(tmp_path, wait):
    frames = noise(30)
    with Predictor(write_semi_causal_model(tmp_path, wait=wait), threads=1) as predictor:
        found = push(Stream(predictor, stride=2, reuse="features"), frames)
        with pytest.raises(UsageError, match="has no border"):
            Stream(predictor, reuse="features", border="wait")
    first, *later = found
    assert first == FRAMES - 1
    assert later == list(range(FRAMES + 1 + wait, 30, 2))
    exact = outputs(frames, first, first=0)
    np.testing.assert_array_equal(found[first].scores, exact.astype(np.float32))
    for tick in later:
        answer = found[tick]
        np.testing.assert_array_equal(answer.scores, causal_outputs(frames, tick))
        assert (answer.live.exact, answer.live.lag) == (False, pytest.approx(wait * TICK))
        assert answer.span[1] == pytest.approx((tick - wait) * TICK)


def test_a_model_without_parts(predictor):
    with pytest.raises(ModelError, match="has no per-frame form; make one"):
        Stream(predictor, reuse="features")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"border": "wait"}, "border is 'wait', and says how features are kept; add reuse"),
        ({"reuse": "pixels"}, "reuse is 'pixels'; it must be 'features'"),
        ({"reuse": "features", "border": "mirror"}, "border is 'mirror'; it must be 'flush' or"),
    ],
)
def test_options_that_are_none(keeping, options, message):
    with pytest.raises(UsageError, match=message):
        Stream(keeping, **options)
    with pytest.raises(UsageError, match=message):
        keeping.stream("absent.mp4", **options)


def test_clips_that_no_stream_can_sample(tmp_path):
    path = brightness_model(tmp_path / "model.onnx")
    with Predictor(path) as predictor:
        clip = dataclasses.replace(predictor.spec.clip, sampling="index", order="lexicographic")
        text = predictor.spec.replace(clip=clip)
    with (
        Predictor(path, spec=text) as predictor,
        pytest.raises(SpecError, match="but a stream has no last frame"),
    ):
        Stream(predictor, reuse="features")


@pytest.mark.slow
def test_a_scene_is_named_as_by_whole_windows(tmp_path, keeping):
    """One camera may keep features while another does not."""
    video = tmp_path / "scene.mp4"
    motion.write_video(motion.scene("test", 0), video)
    sources = {"kept": video, "whole": video}
    options = {"whole": {"reuse": None}}
    with keeping.stream_many(
        sources, stride=1, reuse="features", border="wait", options=options
    ) as answers:
        found = list(answers)
    assert {(a.live.source, a.live.exact) for a in found} == {
        ("kept", True),
        ("kept", False),
        ("whole", True),
    }
