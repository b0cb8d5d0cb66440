"""Prediction streams: several readers and consumers, what is lost, what is left behind."""

import logging
import threading
import warnings
from functools import partial

import numpy as np
import pytest
from live import Camera, Clock, wait_for, watch
from models import brightness_model, levels

from r2p_edge import PredictionStream, Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.errors import StreamWarning, VideoError
from r2p_edge.live.predictions import Feed

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.mark.slow
def test_a_loop_that_is_left_leaves_nothing(predictor, clip):
    for _ in predictor.stream(clip, stride=1):
        break

    def consume():
        for _ in predictor.stream(clip, stride=1):
            raise RuntimeError("of the consumer")

    with pytest.raises(RuntimeError, match="of the consumer"):
        consume()


@pytest.mark.slow
def test_the_model_fails(tmp_path, clip):
    with Predictor(brightness_model(tmp_path / "nan.onnx", factor=np.nan)) as predictor:
        answers = predictor.stream(clip)
        with pytest.raises(ValueError, match="nan"):
            next(answers)


@pytest.mark.slow
def test_close_ends_a_consumer_that_waits(predictor):
    camera, found = Camera(), []
    answers = watch(predictor, camera)
    consumer = threading.Thread(target=lambda: found.extend(answers))
    consumer.start()
    assert camera.shown.wait(60)  # it reads, and nothing comes
    answers.close()
    answers.close()
    consumer.join(60)
    assert not consumer.is_alive()
    assert (found, camera.closed) == ([], True)
    assert list(answers) == []


@pytest.mark.slow
def test_a_source_that_stalls_for_ever(predictor):
    clock = Clock()
    camera = Camera(on_stall=partial(clock.wait, None, 100.0))
    with (
        watch(predictor, camera, patience=60.0, clock=clock) as answers,
        pytest.raises(VideoError, match="camera has given no frame for 60 s"),
    ):
        next(answers)


@pytest.mark.slow
def test_latest_skips_answers_and_no_frames(predictor):
    camera = Camera()
    with watch(predictor, camera, stride=1) as answers:
        camera.show(7)
        first = next(answers)
        camera.show(30)  # the consumer is busy meanwhile
        wait_for(answers, lambda: answers._feeds[0].stream.buffer._tick == 18)
        second = next(answers)
    assert (levels(first), levels(second)) == ([0, 2, 4, 6], [0, 2, 4, 6])
    assert second.span == (pytest.approx(30 / 25), pytest.approx(36 / 25))
    assert (first.live.skipped, second.live.skipped, second.live.gaps) == (0, 14, 0)


@pytest.mark.slow
def test_a_source_that_hangs_where_nothing_is_skipped(predictor):
    clock = Clock()
    camera = Camera(on_stall=partial(clock.wait, None, 100.0))
    camera.show(9)
    with watch(predictor, camera, policy="all", stride=1, clock=clock) as answers:
        (feed,) = answers._feeds
        for _ in range(2):
            wait_for(answers, lambda: feed._waiting)
            clock.now += 100.0  # the consumer's own time
            assert not feed.hung
            next(answers)
        with pytest.raises(VideoError, match="camera has given no frame for 60 s"):
            next(answers)


@pytest.mark.slow
def test_a_source_that_others_kept_waiting_is_not_hung(predictor):
    camera, clock = Camera(), Clock()
    feed = Feed(Stream(predictor, stride=1), camera, "latest", 60.0, clock=clock)
    clock.now += 100.0
    with PredictionStream([feed]) as answers:
        camera.show(7)
        assert next(answers).live.gaps == 0


@pytest.mark.slow
def test_a_source_too_slow_for_a_window_warns(predictor):
    camera = Camera(range(0, 500, 25))
    camera.show(21)
    message = r"camera gives no answer: .* 0\.32 seconds of a clip"
    with watch(predictor, camera) as answers, pytest.warns(StreamWarning, match=message) as told:
        assert list(answers) == []
    assert len(told) == 1


def test_all_lets_the_source_wait(predictor):
    camera = Camera()
    camera.show(200)
    with watch(predictor, camera, stride=1, policy="all") as answers:
        ends = [next(answers).span[1] for _ in range(50)]
    np.testing.assert_allclose(ends, (6 + 2 * np.arange(50)) / 25)


@pytest.mark.slow
def test_two_consumers_share_the_answers(predictor, clip):
    alone = [answer.span for answer in predictor.stream(clip, stride=1)]
    answers, found = predictor.stream(clip, stride=1), []
    consumers = [
        threading.Thread(target=lambda: found.extend(a.span for a in answers)) for _ in range(2)
    ]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert sorted(found) == alone


@pytest.mark.slow
def test_several_sources_take_turns(predictor, clip):
    with predictor.stream_many({"one": clip, "two": clip}, stride=1) as answers:
        names = [answer.live.source for answer in answers]
    assert sorted(names) == ["one"] * 17 + ["two"] * 17
    two = Camera(), Camera(name="other")
    with watch(predictor, *two, stride=1, policy="all") as answers:
        names = []
        for camera in two:
            camera.show(100)
        for _ in range(10):
            wait_for(answers, lambda: all(feed.stream.buffer.due for feed in answers._feeds))
            names.append(next(answers).live.source)
    assert names == ["camera", "other"] * 5


@pytest.mark.slow
def test_sources_that_have_ended_are_not_waited_for(predictor, clip, monkeypatch):
    with predictor.stream_many({str(number): clip for number in range(8)}, stride=17) as answers:
        assert len([next(answers) for _ in range(8)]) == 8
        wait_for(answers, lambda: all(feed.ended for feed in answers._feeds))
        monkeypatch.setattr(answers, "_wait", lambda _: pytest.fail("nothing more can come"))
        assert not list(answers)


@pytest.mark.slow
def test_one_of_several_is_lost(predictor, clip, tmp_path):
    short = tmp_path / "short.mp4"
    motion.write_video(motion.scene("test", 0), short, np.arange(5) / 25)
    with predictor.stream_many({"short": short, "long": clip}, stride=1) as answers:
        found = []
        with pytest.warns(StreamWarning, match="shorter than a clip"):
            found.extend(answers)
    assert {answer.live.source for answer in found} == {"long"}


@pytest.mark.slow
def test_the_stream_is_public(predictor, clip):
    with predictor.stream(clip) as answers:
        assert isinstance(answers, PredictionStream)


@pytest.mark.slow
def test_the_timing_covers_what_was_done(predictor, clip):
    for answer in predictor.stream(clip, stride=1):
        timing = answer.timing
        assert min(timing.decode, timing.preprocess, timing.inference) > 0
        parts = timing.decode + timing.preprocess + timing.inference
        assert timing.total >= parts - 1e-6


@pytest.mark.slow
def test_a_warning_points_to_the_loop(predictor):
    camera = Camera(range(0, 500, 25))
    camera.show(21)
    with watch(predictor, camera) as answers, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        list(answers)
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.slow
def test_the_log_says_what_was_opened_and_given_up(predictor, caplog):
    caplog.set_level(logging.INFO, "r2p_edge")
    clock = Clock()
    camera = Camera(range(3), on_stall=partial(clock.wait, None, 100.0))
    camera.show(2)
    with watch(predictor, camera, clock=clock) as answers, pytest.raises(VideoError):
        next(answers)
    assert [record.getMessage() for record in caplog.records] == [
        "camera: Camera gives frames of 12x10 pixels",
        "camera: ended (camera has given no frame for 60 s; check it, or wait longer (timeout))",
    ]
    assert {record.levelname for record in caplog.records} == {"INFO"}


@pytest.mark.slow
def test_the_log_counts_dropped_frames(predictor, caplog):
    camera = Camera(range(10), dropped=2)
    camera.show(11)
    with watch(predictor, camera) as answers:
        list(answers)
    found = [record for record in caplog.records if record.levelname == "WARNING"]
    assert ["frames dropped" in record.getMessage() for record in found] == [True, True]
    assert [record.args[1] for record in found] == [
        "2 frames",
        "18 frames",
    ]  # at once, and the rest at the end


@pytest.mark.slow
def test_a_model_of_a_batch_answers_several_sources_in_one_call(tmp_path, predictor, clip):
    sources = {str(number): clip for number in range(3)}
    wanted = [(answer.span, answer.label) for answer in predictor.stream(clip, stride=1)]
    with (
        Predictor(brightness_model(tmp_path / "three.onnx", batch=3)) as batched,
        batched.stream_many(sources, stride=1) as answers,
    ):
        calls, scores = [], batched.scores

        def counted(pixels, *, timing):
            calls.append(len(pixels))
            return scores(pixels, timing=timing)

        batched.scores = counted
        found = {name: [] for name in sources}
        for answer in answers:
            found[answer.live.source].append((answer.span, answer.label))
            if not answers._answered:
                wait_for(answers, lambda: all(f.ended or f.stream.buffer.due for f in answers._all))
    assert found == dict.fromkeys(sources, wanted)
    assert calls.count(3) >= len(wanted) - 1  # the first may find only some of them ready
    assert sum(calls) == 3 * len(wanted)


def test_a_consumer_may_wait_for_a_while(predictor):
    camera = Camera(range(9))
    with watch(predictor, camera, stride=1, policy="all") as answers:
        assert answers.next_within(0.0) is None
        camera.show(10)
        assert answers.next_within(60.0).span[1] == pytest.approx(6 / 25)
        assert answers.next_within(60.0) is not None
        wait_for(answers, lambda: answers._all[0].ended)
        with pytest.raises(StopIteration):
            answers.next_within(60.0)


def test_each_frame_is_shown_and_each_state_told(predictor):
    clock, shown = Clock(), []
    camera = Camera(range(3))
    feed = Feed(
        Stream(predictor, name="door"),
        camera,
        "latest",
        60.0,
        clock=clock,
        on_frame=lambda name, frame: shown.append((name, frame.time)),
    )
    with PredictionStream([feed]) as answers:
        assert answers.states() == [("door", "opening", 0.0, "")]
        camera.show(2)
        wait_for(answers, lambda: feed.stream.buffer._tick >= 0)
        clock.now += 4.0
        assert answers.states() == [("door", "live", 4.0, "")]
        camera.lost = True
        assert answers.states()[0].state == "lost"
        camera.lost = False
        clock.now += 60.0
        assert answers.states()[0].state == "failed"
        camera.show(2)
        wait_for(answers, lambda: feed.ended)
        assert answers.states()[0].state == "ended"
    assert shown == [("door", number / 25) for number in range(3)]
