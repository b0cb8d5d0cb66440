"""Text about int8 artifacts."""

import pytest
from models import spec_of_brightness

from r2p_edge.cli.int8 import int8_rows

_MEASURED = {
    "clips": 15,
    "held_out": False,
    "top1": 0.8,
    "fp32_top1": 0.8,
    "agreement": 1.0,
    "speedup": 2.0,
    "runtime": "onnxruntime",
}


@pytest.mark.parametrize(
    ("record", "which"),
    [
        ({"held_out": True}, "not calibrated on"),
        ({"held_out": True, "outside": 15}, "outside the list that it was calibrated on"),
        ({"held_out": True, "outside": 5}, "not calibrated on, 5 of them outside the list"),
        ({}, "that it was calibrated on, so that others may come out worse"),
        (
            {"calibrated_on": False, "trained_on": 15},
            "that it was trained on, so that others may come out worse",
        ),
        (
            {"calibrated_on": True, "trained_on": 4},
            "that it was calibrated and trained on (4 trained on), so that others may come out "
            "worse",
        ),
    ],
    ids=["held out", "outside", "both", "calibrated", "trained", "calibrated and trained"],
)
def test_the_clips_that_were_measured_are_told(record, which):
    rows = int8_rows(spec_of_brightness(accuracy={**_MEASURED, **record}))
    assert rows["measured"].startswith(f"on 15 clips {which}: top-1 80.0%")


def test_a_simulator_has_no_speed():
    record = {name: value for name, value in _MEASURED.items() if name != "speedup"}
    record |= {"runtime": "rknn", "device": "simulator", "held_out": True}
    (text,) = int8_rows(spec_of_brightness(accuracy=record)).values()
    assert text.endswith(", on rknn's simulator, which has no speed")
