"""Answers: the label, the best classes, plain types, and the time of each stage."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from answers import prediction

from r2p_edge.errors import VideoError
from r2p_edge.prediction import Live, Timing


def live(label):
    return Live(
        "door", label, False, 12.34567, 1, 2, 3, 1.25, lambda: np.zeros((2, 2, 3), np.uint8)
    )


def test_the_label_of_a_video_is_its_most_probable_class():
    assert (prediction().label, prediction().score) == ("run", 0.5)
    assert prediction().top(2) == [("run", 0.5), ("walk", pytest.approx(0.3))]


def test_equal_scores_keep_the_order_of_the_labels():
    assert [label for label, _ in prediction(scores=(0.4, 0.2, 0.4)).top()] == [
        "jump",
        "walk",
        "run",
    ]


def test_the_label_of_a_stream_is_the_smoothed_one():
    steady = prediction(live("walk"))
    assert (steady.label, steady.score) == ("walk", pytest.approx(0.3))
    unsure = prediction(live(None))
    assert (unsure.label, unsure.score) == ("", 0.5)
    assert unsure.live.image.shape == (2, 2, 3)


def test_plain_types():
    report = json.loads(json.dumps(prediction().to_dict(top=1)))
    assert report["top"] == [{"label": "run", "score": 0.5}]
    assert report["timing_ms"]["decode"] == 1.235
    assert "source" not in report
    report = json.loads(json.dumps(prediction(live(None)).to_dict()))
    assert (report["label"], report["time"], report["source"]) == (None, 1.25, "door")
    assert (report["age_ms"], report["skipped"], report["gaps"]) == (12.346, 1, 3)
    assert (report["start"], report["end"]) == (0.5, 1.25)
    assert report["wall"] == "1970-01-01T00:00:01.250Z"


def test_a_stage_that_fails_is_timed_too():
    timing = Timing()
    with pytest.raises(ValueError, match="broken"), timing.stage("decode"):
        raise ValueError("broken")
    before = timing.decode
    assert before > 0
    with timing.stage("decode"):
        pass
    assert timing.decode > before


def test_the_repr_is_short():
    shown = "Prediction(label='run', score=0.500, clips=2, span=(0.50, 1.25))"
    assert repr(prediction()) == shown
    timed = dataclasses.replace(prediction(), duration=9.0)
    assert repr(timed) == shown[:-1] + ", duration=9.00)"


def test_what_was_looked_at():
    answer = dataclasses.replace(prediction(), duration=600.0)
    assert answer.seen() == "2 clips from 0.5 to 1.2 of 600.0 s"
    assert dataclasses.replace(answer, clips=1).seen() == "0.8 of 600.0 s"
    assert prediction().seen() == ""
    report = answer.to_dict()
    assert (report["span"], report["duration"]) == ([0.5, 1.25], 600.0)
    report = prediction(live("run")).to_dict()
    assert "duration" not in report
    assert report["span"][1] == report["time"]


def test_an_answer_without_frames_says_how_to_get_them():
    with pytest.raises(VideoError, match="ask predict\\(\\) for them with keep_frames=True"):
        prediction().frames()


def test_answers_that_were_pickled_share_their_labels():
    one, other = (pickle.loads(pickle.dumps(prediction())) for _ in range(2))
    assert one.labels is other.labels
    assert one.to_dict() == prediction().to_dict()
