"""Answers: the label, the best classes, plain types, and the time of each stage."""

import json

import numpy as np
import pytest

from r2p_edge.prediction import Live, Prediction, Timing


def prediction(live=None, scores=(0.2, 0.5, 0.3)):
    return Prediction(
        labels=("jump", "run", "walk"),
        scores=np.array(scores, np.float32),
        clips=2,
        span=(0.5, 1.25),
        coverage=1.0,
        truncated=False,
        runtime="onnxruntime",
        device="cpu",
        precision="fp32",
        timing=Timing(decode=1.23456),
        live=live,
    )


def live(label):
    return Live("door", label, False, 12.34567, 1, 2, 3, lambda: np.zeros((2, 2, 3), np.uint8))


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
    assert repr(prediction()) == "Prediction(label='run', score=0.500, clips=2)"
