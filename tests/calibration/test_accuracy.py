"""Accuracy and speed of int8 beside fp32."""

import pytest
from models import brightness_model, grey_frames, spec_of_brightness
from requirements import needs

from r2p_edge.calibration.accuracy import is_measurement, measure_accuracy, objections
from r2p_edge.calibration.calibrate import warning_of
from r2p_edge.errors import VideoError

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


def test_measure_accuracy(tmp_path, monkeypatch):
    """Two models are compared, of which one sees frame 2 where the other sees frame 1."""
    spec = spec_of_brightness()
    one = brightness_model(tmp_path / "one.onnx", spec)
    swapped = spec.replace(labels=(spec.labels[0], spec.labels[2], spec.labels[1], spec.labels[3]))
    other = brightness_model(tmp_path / "other.onnx", swapped)

    class Clips:
        held_out, outside, judged_count = False, 3, 8
        calibrated_on, trained_on = False, 2

        def judged(self):
            for brightest in (0, 1, 2, 3, 0, 1, 2, 3):
                frames = grey_frames([90 * (n == brightest) for n in range(4)], 8, 8)
                yield frames, spec.labels[brightest]

    steps = []
    found = measure_accuracy(
        one, other, swapped, "onnxruntime", Clips(), lambda *step: steps.append(step)
    )
    assert steps == [(done, 8) for done in range(9)]
    assert (found["held_out"], found["outside"]) == (False, 3)
    assert (found["calibrated_on"], found["trained_on"]) == (False, 2)
    assert (found["fp32_top1"], found["top1"], found["agreement"]) == (1.0, 0.5, 0.5)
    assert found["recommended"] is False
    warning = warning_of(swapped.replace(accuracy=found))
    assert "top-1 falls from 100.0% to 50.0%, it agrees with fp32 on 50.0% of 8 clips" in warning
    limits = {"top1": 0.99, "fp32_top1": 1.0, "agreement": 0.98, "speedup": 1.1, "clips": 100}
    assert objections(limits) == []
    for name, value, reason in (
        ("top1", 0.98, "top-1 falls from 100.0% to 98.0%"),
        ("agreement", 0.97, "it agrees with fp32 on 97.0% of 100 clips only"),
        ("speedup", 1.09, "it is 1.09 times as fast"),
    ):
        assert objections({**limits, name: value}) == [reason]
    assert objections({name: limits[name] for name in limits if name != "speedup"}) == []
    good = {**found, "recommended": True}
    assert warning_of(swapped.replace(accuracy=good)) is None
    monkeypatch.setattr(Clips, "judged", lambda self: iter(()))
    with pytest.raises(VideoError, match="none of the clips to compare int8 with fp32 on"):
        measure_accuracy(one, other, swapped, "onnxruntime", Clips())


def test_records_of_other_tools_are_known():
    own = {
        "runtime": "onnxruntime",
        "clips": 48,
        "top1": 1.0,
        "fp32_top1": 1,
        "agreement": 0.98,
        "speedup": 1.5,
        "recommended": True,
    }
    assert is_measurement({**own, "device": "cpu"})
    assert not is_measurement({})
    for name in own:
        assert not is_measurement({**own, name: None})
        assert not is_measurement({key: own[key] for key in own if key != name})
    del own["speedup"]
    assert is_measurement({**own, "device": "simulator"})
