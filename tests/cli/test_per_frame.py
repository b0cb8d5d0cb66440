"""The lines of `info` and `export` about a form with state."""

from __future__ import annotations

import pytest
from networks import spec_for

from r2p_edge.cli.per_frame import per_frame_rows
from r2p_edge.spec import PartSpec, PerFrameSpec, RingSpec


def spec_with(**changes):
    ring = RingSpec("layer1.0", (10, 100, 100), "uint8", 0, 0.5, 1, {"tail": (3, 2, 1, 0)})
    parts = {name: PartSpec(f"net-int8-{name}.onnx", "0" * 64) for name in ("head", "tail")}
    values = {"stages": 1, "delay": 0, "wait": 0, "step": 1, "positions": 4, "missing": ()}
    values |= {"feature": "layer1.0", "rings": (ring,), "parts": parts, **changes}
    return spec_for(4, graph="conv3d", per_frame=PerFrameSpec("per-frame", **values))


def test_a_model_without_one_has_no_lines():
    assert per_frame_rows(spec_for(4)) == {}


def test_a_form_that_answers_at_each_frame_is_always_late():
    ring = RingSpec("layer1.0", (10, 10, 10), "float32", 0, None, 1, {"step": (1, 2)})
    parts = {"step": PartSpec("net-fp32-step.onnx", "0" * 64)}
    count = {"windows": 40, "agree": 39, "interval": [0.871, 0.996]}
    form = PerFrameSpec("semi-causal", 2, 12, 8, 1, 1, None, (ring,), (), parts, {"wait": count})
    rows = per_frame_rows(spec_for(4, graph="conv3d", per_frame=form))
    assert rows["form"].startswith("semi-causal, stages to 2, 0.64 s late, 0.0 MB of state")
    assert rows["agrees"] == "39 of 40 windows (87.1% to 99.6%)"


def test_its_state_its_parts_and_its_agreement():
    count = {"windows": 40, "agree": 39, "interval": [0.871, 0.996]}
    assert per_frame_rows(spec_with(agreement={"on": "recordings in hall", "flush": count})) == {
        "form": "per-frame, stages to 1, not late where it waits, 0.4 MB of state per camera "
        "at most",
        "parts": "net-int8-head.onnx, net-int8-tail.onnx",
        "agrees": "flush 39 of 40 windows (87.1% to 99.6%), on recordings in hall",
    }


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"flush": 0.98},
        {"flush": {"windows": 40, "agree": 39}},
        {"flush": {"windows": "many", "agree": 39, "interval": [0, 1]}},
        {"flush": {"windows": 40, "agree": 39, "interval": ["low", "high"]}},
        {"flush": {"windows": 40, "agree": 39, "interval": [0.9]}},
    ],
)
def test_the_record_of_another_tool_has_no_line(record):
    assert "agrees" not in per_frame_rows(spec_with(agreement=record))
