"""The watch: answers become events, silence ends them, and everybody is told."""

import json
import threading
from functools import partial

import numpy as np
import pytest
from live import Camera, Clock, Shown, wait_for
from per_frame_models import write_per_frame_model

from r2p_edge import Predictor
from r2p_edge.errors import UsageError
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.live.stream import Stream
from r2p_edge.watch import EventRule, NamedSource, Watch, watching
from r2p_edge.watch.sources import read_watch_file

RULE = EventRule("frame 3", 0.5, "last")


class Scripted(Shown):
    """A predictor that gives "frame 3" these scores, one after the other, and then the last.

    Attributes:
        clock: of its streams.
        feeds: of the streams that were asked for.
    """

    def __init__(self, cameras, scores):
        super().__init__()
        self._cameras, self._scores = cameras, list(scores)
        self.clock, self.asked = Clock(), {}
        self.asked_for = lambda: None

    def wall(self):
        return 1e9 + self.clock.now

    def scores(self, pixels, *, timing):
        self.asked_for()
        score = self._scores.pop(0) if len(self._scores) > 1 else self._scores[0]
        rest = (1 - score) / 3
        return np.array([[rest, rest, rest, score]])

    def stream_many(self, sources, *, on_frame, **options):
        self.asked = {"sources": sources, **options}
        self.feeds = [
            Feed(
                Stream(self, name=name, stride=1, clock=self.clock, wall=self.wall),
                camera,
                "all",
                60.0,
                clock=self.clock,
                on_frame=on_frame,
            )
            for name, camera in zip(sources, self._cameras)
        ]
        return PredictionStream(self.feeds)


class Kept:
    """A sink that keeps what it is sent."""

    name = "kept"

    def __init__(self):
        self.messages, self.closed = [], threading.Event()

    def send(self, message, stop):
        self.messages.append(message)

    def close(self):
        self.closed.set()

    def told(self):
        return [(m["source"], m["type"], m["ended_by"]) for m in self.messages]


class Looks:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.frames, self.answers, self.states, self.events = [], [], [], []

    def frame(self, source, picture, wall_s):
        self.frames.append((source, picture().shape, wall_s))

    def answer(self, source, prediction):
        self.answers.append((source, prediction.span[1]))

    def state(self, source, state, note):
        self.states.append((source, state))

    def event(self, event):
        self.events.append(json.loads(json.dumps(event)))


def sources(*names):
    return [NamedSource(name, 0, {}) for name in names]


@pytest.fixture
def watch(no_thread_is_left):
    """Return a function that opens a watch over cameras whose scores are scripted."""
    opened = []

    def watch(cameras, scores, names=("door",), **more):
        predictor, kept = Scripted(cameras, scores), Kept()
        found = Watch(
            predictor,
            sources(*names),
            [RULE],
            sinks=[kept],
            clock=predictor.clock,
            wall=predictor.wall,
            **more,
        )
        opened.append(found)
        return found, predictor, kept

    yield watch
    for each in opened:
        each.close()


def test_answers_become_events(watch):
    camera, looks = Camera(range(20)), Looks()
    camera.show(21)
    found, _, kept = watch([camera], [0.1, 0.9, 0.9, 0.45, 0.3, 0.9], observer=looks)
    answers = list(found)
    found.close()
    assert kept.told() == [
        ("door", "begin", None),
        ("door", "end", "score"),
        ("door", "begin", None),
        ("door", "end", "ended"),
    ]
    assert looks.events == kept.messages
    assert [end for _, end in looks.answers] == [answer.span[1] for answer in answers]
    assert looks.states[-1] == ("door", "ended")
    assert looks.frames[0] == ("door", (10, 12, 3), 1e9)
    assert len(looks.frames) == 20
    assert kept.closed.is_set()
    first, second = kept.messages[:2]
    assert first["id"] == second["id"] != kept.messages[2]["id"]
    assert found.counts == {"kept": (4, 0, 0, 0)}


def test_a_source_that_ends_while_its_last_answer_is_made(watch):
    camera = Camera(range(9))
    found, predictor, kept = watch([camera], [0.9])
    (feed,) = predictor.feeds

    def ended():
        predictor.clock.now += watching.LOOK_SECONDS
        if len(predictor.windows) == 1:
            wait_for(found._stream, lambda: feed.ended)
        predictor.windows.append(None)

    predictor.asked_for = ended
    camera.show(10)
    assert len(list(found)) == 2
    found.close()
    assert kept.told() == [("door", "begin", None), ("door", "end", "ended")]
    assert kept.messages[1]["end"] == pytest.approx(8 / 25)


@pytest.mark.parametrize("change", ["lost", "silent"])
def test_a_source_that_is_lost_ends_its_event(watch, change):
    camera, looks = Camera(), Looks()
    found, predictor, kept = watch([camera], [0.9], observer=looks)
    camera.show(9)
    assert [next(found).label for _ in range(2)] == ["frame 3"] * 2
    camera.lost = change == "lost"
    consumer = threading.Thread(target=lambda: next(found))
    consumer.start()
    for _ in range(6000):
        predictor.clock.now += watching.SILENCE + 1 if change == "silent" else 1
        if len(kept.messages) == 2:
            break
        threading.Event().wait(0.01)
    assert kept.told() == [("door", "begin", None), ("door", "end", "lost")]
    camera.lost = False
    camera.show(2)
    consumer.join(60)
    assert not consumer.is_alive()
    if change == "lost":
        assert ("door", "lost") in looks.states
    found.close()
    assert kept.told()[2:] == [("door", "begin", None), ("door", "end", "stopped")]


def test_each_source_has_its_own_events(watch):
    cameras = [Camera(range(7), name="a"), Camera(range(9), name="b")]
    for camera in cameras:
        camera.show(10)
    found, _, kept = watch(cameras, [0.9], names=("door", "yard"))
    list(found)
    found.close()
    assert sorted(kept.told()[:2]) == [("door", "begin", None), ("yard", "begin", None)]
    assert sorted(kept.told()[2:]) == [("door", "end", "ended"), ("yard", "end", "ended")]


def test_a_sink_that_is_broken_ends_the_watch(watch):
    camera = Camera()
    camera.show(50)
    found, predictor, kept = watch([camera], [0.9, 0.1, 0.9, 0.1])
    kept.send = partial(int, "no number")

    def watched():
        for _ in found:
            predictor.clock.now += watching.LOOK_SECONDS
            threading.Event().wait(0.05)

    with pytest.raises(TypeError):
        watched()


@pytest.mark.slow
def test_pictures_and_films_are_those_of_the_event(watch, tmp_path):
    camera = Camera(range(60))
    camera.show(61)
    found, predictor, kept = watch(
        [camera], [0.9, 0.9, 0.9, 0.1], pictures=tmp_path / "events", clips=True
    )
    for _ in found:
        predictor.clock.now += 0.08
    found.close()
    begin, end = kept.messages
    assert begin["snapshot"] == end["snapshot"]
    assert (begin["clip"], end["clip"].endswith(".mp4")) == (None, True)
    assert len(list((tmp_path / "events").iterdir())) == 2
    assert found.picture_counts == (2, 0)


def test_each_source_has_its_options_and_its_login(watch, no_thread_is_left):
    from r2p_edge.live.credentials import Credentials, Login

    predictor = Scripted([Camera(range(1)), Camera(range(1))], [0.1])
    named = [NamedSource("door", "rtsp://h/1", {"every": 1.0}), NamedSource("yard", 0, {})]
    secret = Credentials(None, {"door": Login("me", "S3cret")})
    with Watch(predictor, named, credentials=secret, options={"timeout": 3.0}, notify=True):
        asked = predictor.asked
    assert asked == {
        "sources": {"door": "rtsp://me:S3cret@h/1", "yard": 0},
        "options": {"door": {"every": 1.0}, "yard": {}},
        "notify": True,
        "reconnect": float("inf"),
        "timeout": 3.0,
    }
    assert "S3cret" not in repr([named, secret])


def test_what_is_refused():
    predictor = Scripted([], [0.1])
    with pytest.raises(UsageError, match="two sources are named door"):
        Watch(predictor, sources("door", "door"))
    with pytest.raises(UsageError, match="no label 'fall'"):
        Watch(predictor, sources("door"), [EventRule("fall", 0.5)])


@pytest.mark.parametrize("border", ["flush", "wait"])
def test_events_have_the_times_of_the_windows_that_features_answer(tmp_path, clip, border):
    """An answer that waited is about a window that is past, and so is what it begins."""
    model = write_per_frame_model(tmp_path, kind="logits")
    (tmp_path / "watch.toml").write_text(
        f'[sources.door]\nsource = "{clip}"\nstride = 1\nreuse = "features"\nborder = "{border}"\n'
        f'[sources.yard]\nsource = "{clip}"\nstride = 1\n'
    )
    named, _ = read_watch_file(tmp_path / "watch.toml")
    kept = Kept()
    with Predictor(model, runtime="onnxruntime") as predictor:
        rules = [EventRule(label, 0.5) for label in predictor.spec.labels]
        with Watch(predictor, named, rules, sinks=[kept]) as watch:
            answers = [each for each in watch if each.live.source == "door"]
    assert [each.live.exact for each in answers] == [True] + [False] * (len(answers) - 1)
    first = answers[0]
    begun = [each for each in kept.messages if each["type"] == "begin" and each["source"] == "door"]
    assert begun[0]["label"] == first.label
    assert begun[0]["end"] == pytest.approx(first.span[1], abs=1e-3)
    ended = [each for each in kept.messages if each["type"] == "end" and each["source"] == "door"]
    assert ended[-1]["end"] == pytest.approx(answers[-1].span[1], abs=1e-3)
