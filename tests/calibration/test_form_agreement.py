"""How often a form with state gives the clip model's answer, and on which streams."""

from __future__ import annotations

import numpy as np
import pytest
from networks import spec_for

from r2p_edge.calibration import motion
from r2p_edge.calibration.form_agreement import AgreementJudge, compare_on
from r2p_edge.calibration.tally import wilson_interval
from r2p_edge.calibration.tick_streams import (
    LASTING,
    TickStream,
    recordings,
    scenes_with_cuts,
    uncut_scenes,
)
from r2p_edge.errors import ParityError, UsageError, VideoError

FRAMES, WAIT = 4, 3
SPEC = spec_for(4, frames=FRAMES)
MOTION = spec_for(len(motion.CLASSES), frames=16).replace(labels=motion.CLASSES)


def one_hot(place):
    return np.eye(256, dtype=np.float32)[place]


class Camera:
    """A form whose answer is the newest frame's value; a late one that of `WAIT` ticks before."""

    def __init__(self, wrong=(), borders=("flush", "wait")):
        self.seen, self.resets, self.wrong, self.borders = [], 0, wrong, borders

    def reset(self):
        self.seen, self.resets = [], self.resets + 1

    def step(self, frame):
        self.seen.append(int(frame[0, 0, 0]))

    def answer(self, border):
        value = self.seen[-1 if border == "flush" else -1 - WAIT]
        return one_hot(0 if (border, value) in self.wrong else value)


def clip_answer(clip):
    assert len(clip) == FRAMES
    return one_hot(int(clip[-1, 0, 0, 0]))


def numbered(count, first=1):
    return [np.full((2, 2, 3), first + number, np.uint8) for number in range(count)]


def test_each_answer_is_compared_with_that_of_its_window():
    camera = Camera(wrong={("wait", 9)})
    streams = [
        TickStream(numbered(20), frozenset({3, 8, 16})),
        TickStream(numbered(9, first=100), frozenset({5, 6})),
    ]
    done = []
    found = compare_on(camera, clip_answer, FRAMES, WAIT, streams, progress=done.append)
    assert (found["flush"].windows, found["flush"].agree) == (5, 5)
    # The last window of the second stream has its late answer after the stream's end.
    assert (found["wait"].windows, found["wait"].agree) == (4, 3)
    assert camera.resets == 2
    assert done == [1, 2, 3, 4, 5]
    assert found["wait"].record() == {
        "windows": 4,
        "agree": 3,
        "interval": [round(bound, 4) for bound in wilson_interval(3, 4)],
    }


def test_each_scene_between_cuts_has_its_window():
    stream = scenes_with_cuts(MOTION, "test", 240)
    assert len(stream.ends) == 240
    for end in stream.ends:
        assert end // 20 == (end - 15) // 20


def test_each_uncut_scene_but_the_first_has_two_windows():
    stream = uncut_scenes(MOTION, "test", 60)
    assert len(stream.ends) == 118
    assert min(stream.ends) >= 120
    for end in stream.ends:
        assert end // 120 == (end - 15) // 120
    assert set(LASTING) < set(motion.CLASSES)


def test_scenes_are_drawn_for_as_long_as_late_answers_need():
    spec = spec_for(12, frames=16, size=16).replace(labels=motion.CLASSES)
    stream = scenes_with_cuts(spec, "calibration", 2, tail=11)
    frames = list(stream.frames)
    assert frames[0].shape == (16, 16, 3)
    assert len(frames) >= max(stream.ends) + 11 + 1
    uncut = uncut_scenes(spec, "calibration", 1, ticks=20, ends=())
    assert len(list(uncut.frames)) == 40


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two recordings of 4 s and one of 0.4 s, and a file that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number, count in enumerate((100, 100, 10)):
        (folder / f"{number}").mkdir()
        scene, times = motion.scene("calibration", number), np.arange(count) / 25
        motion.write_video(scene, folder / f"{number}" / "film.mp4", times, height=48, width=64)
    (folder / "0" / "broken.mp4").write_bytes(b"no film")
    return folder


def test_recordings_are_streams_of_their_own(videos):
    files = sorted(videos.rglob("*.mp4"))
    found = list(recordings(SPEC, files, late=WAIT, most=1000))
    assert len(found) == 2  # the others are too short, or broken
    for stream in found:
        frames = list(stream.frames)
        assert len(frames) == 50
        assert stream.ends == frozenset(range(5, 50 - WAIT, 2))
    assert len(list(recordings(SPEC, files, late=WAIT, most=10))) == 1


def judged(videos, camera, **options):
    return AgreementJudge(videos, **options).measure(
        camera, lambda clip: one_hot(int(clip[-1, 0, 0, 0])), SPEC, WAIT
    )


def test_the_record_says_on_what_and_how_sure(videos):
    record = judged(videos, Camera(), windows=20)
    assert record["on"] == f"recordings in {videos.name}"
    assert record["least"] == 0.97
    assert record["flush"]["agree"] == record["flush"]["windows"] > 20
    assert record["flush"]["interval"][1] == 1.0


def test_too_little_agreement_is_an_error_that_says_what_to_do(videos):
    never = {("flush", value) for value in range(1, 256)}
    message = r"for 0\.0% of \d+ windows .*97\.0% is the least; choose fewer --stages"
    with pytest.raises(ParityError, match=message):
        judged(videos, Camera(never))
    assert judged(videos, Camera(never), least=0)["flush"]["agree"] == 0


def test_a_semi_causal_form_is_judged_by_the_answers_that_it_gives_late(videos):
    record = judged(videos, Camera(borders=("wait",)), windows=20)
    assert "flush" not in record
    assert record["wait"]["agree"] == record["wait"]["windows"] > 10
    never = {("wait", value) for value in range(1, 256)}
    message = r"the semi-causal form .* for 0\.0% .*; fit it to your recordings \(r2p-edge adapt\)"
    with pytest.raises(ParityError, match=message):
        judged(videos, Camera(never, ("wait",)))


def test_recordings_that_are_too_short(videos):
    judge = AgreementJudge(videos / "2")
    with pytest.raises(VideoError, match=r"long enough .* give some of 0\.7 seconds or more"):
        judge.measure(Camera(), clip_answer, SPEC, WAIT)


def test_what_there_is_nothing_to_measure_on(tmp_path):
    with pytest.raises(UsageError, match="give --videos"):
        AgreementJudge().check(SPEC)
    AgreementJudge().check(MOTION)
    with pytest.raises(VideoError, match="there is no folder"):
        AgreementJudge(tmp_path / "absent").check(SPEC)
    with pytest.raises(UsageError, match="least agreement is 2"):
        AgreementJudge(least=2)
    with pytest.raises(UsageError, match="windows is 0"):
        AgreementJudge(windows=0)
