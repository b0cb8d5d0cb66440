"""The per-frame form in the contract of an artifact."""

from __future__ import annotations

import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ClipSpec, InputSpec, ModelSpec, PartSpec, PerFrameSpec, RingSpec


def ring(name="layer1.0", **changes):
    values = {
        "shape": (12, 8, 8),
        "dtype": "float32",
        "zero": 0,
        "scale": None,
        "gate": 3,
        "delays": {"head": (1, 2)},
    }
    return RingSpec(name, **{**values, **changes})


def part(name):
    return PartSpec(f"net-fp32-{name}.onnx", "0" * 64)


def form(**changes):
    """The form of two stages of clips of 16 frames, as of an R(2+1)D of 18 layers."""
    features = ring("layer2.1", gate=12, delays={"tail": tuple(range(14, -1, -2))})
    values = {
        "form": "per-frame",
        "stages": 2,
        "delay": 12,
        "wait": 11,
        "step": 2,
        "positions": 8,
        "feature": "layer2.1",
        "rings": (ring(delays={"head": (1, 2), "flush": (0, 1)}), features),
        "missing": (2, 3, 4, 5, 6, 7),
        "parts": {name: part(name) for name in ("head", "tail", "flush")},
        "agreement": {"clips": 240, "agree": 238, "interval": [0.97, 0.998]},
    }
    return PerFrameSpec(**{**values, **changes})


@pytest.fixture
def per_frame(spec):
    return spec.replace(graph="conv3d", per_frame=form())


def test_it_comes_back_from_json_as_it_was(per_frame):
    found = ModelSpec.from_json(per_frame.to_json())
    assert found == per_frame
    assert found.per_frame is not None
    assert isinstance(found.per_frame.parts["head"], PartSpec)
    assert found.per_frame.rings[0].delays["head"] == (1, 2)


def test_a_spec_without_it_is_written_as_before(spec):
    assert "per_frame" not in spec.to_dict()


def test_it_does_not_decide_the_answer_of_the_artifact(spec, per_frame):
    assert per_frame.contract_digest() == spec.contract_digest()


def test_a_ring_has_one_slot_more_than_its_oldest_age():
    assert ring(delays={"head": (1, 4), "flush": (0, 2)}).slots == 5
    assert ring(delays={"head": (1, 4), "flush": (0, 2)}).kept == 4
    assert ring(delays={"head": (1, 2), "tail": (3, 1)}).kept == 4
    assert ring(delays={"step": (2,)}).kept == 2


def test_the_features_known_at_the_end_of_a_window_are_the_oldest():
    assert form().known(16) == {0: 3, 1: 1}


def test_a_form_of_one_graph_has_no_features(spec):
    values = {
        "form": "semi-causal",
        "feature": None,
        "rings": (ring(delays={"step": (1, 2)}),),
        "missing": (),
        "parts": {"step": part("step")},
        "positions": 1,
        "step": 1,
        "wait": 0,
    }
    made = spec.replace(graph="conv3d", per_frame=form(**values))
    assert ModelSpec.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (12, 0, 8)}, "shape is .*three sizes of 1 or more"),
        ({"zero": 3}, "zero is 3; it must be a value of float32"),
        ({"dtype": "uint8", "scale": 0.1, "zero": -1}, "zero is -1"),
        ({"dtype": "uint8"}, "scale is None"),
        ({"scale": 0.5}, "null for floats"),
        ({"gate": -1}, "gate is -1"),
        ({"delays": {}}, "delays are {}"),
        ({"delays": {"head": (0, 1)}}, "delays have 0"),
        ({"delays": {"head": (True,)}}, "ages of 0 or more"),
    ],
)
def test_a_ring_that_cannot_be(changes, message):
    with pytest.raises(SpecError, match=message):
        ring(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": 5}, "stages is 5; .* 4 at most"),
        ({"delay": -1}, "delay is -1"),
        ({"feature": "layer9"}, "feature is 'layer9'"),
        ({"rings": (ring("layer2.1"), ring("layer2.1"))}, "layer2.1 more than once"),
        ({"parts": {"head": part("head")}}, "has head; it must have head, tail, flush"),
        ({"missing": ()}, "must have head, tail$"),
        (
            {"rings": (ring("layer2.1", delays={"step": (1,)}),)},
            "delays are of step, which is no part",
        ),
        ({"agreement": {"clips": float("nan")}}, "agreement"),
    ],
)
def test_a_form_that_cannot_be(changes, message):
    with pytest.raises(SpecError, match=message):
        form(**changes)


@pytest.mark.parametrize(
    "changes", [{"positions": 7}, {"wait": 12}, {"missing": (3, 4, 5, 6, 7)}, {"delay": 11}]
)
def test_numbers_that_are_not_those_of_the_clips(spec, changes):
    with pytest.raises(SpecError, match=r"for clips of 16 frames, .*export the per-frame form"):
        spec.replace(graph="conv3d", per_frame=form(**changes))


@pytest.mark.parametrize("file", ["../net.onnx", "a\\b", ".."])
def test_a_part_lies_beside_its_artifact(file):
    with pytest.raises(SpecError, match="name without folders"):
        PartSpec(file, "0" * 64)


def test_a_part_has_a_sha256():
    with pytest.raises(SpecError, match="64 hex digits"):
        PartSpec("head.onnx", "12")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip": ClipSpec(16, 2, 25.0, sampling="index")}, "--sampling time"),
        ({"clip": ClipSpec(16, 2, 25.0, "index", "lexicographic")}, "--sampling time"),
        ({"clip": ClipSpec(16, 2, 25.0, offsets="linspace")}, "uneven"),
        ({"input": InputSpec(dtype="float32", layout="NCTHW")}, "--input uint8"),
        ({"graph": "conv2d"}, "--graph conv3d"),
        ({"graph": None}, "unknown form"),
    ],
)
def test_a_model_that_cannot_have_it(per_frame, changes, message):
    with pytest.raises(SpecError, match=message):
        per_frame.replace(**changes)


def test_unknown_fields_are_named(per_frame):
    data = per_frame.to_dict()
    data["per_frame"]["rings"][0]["color"] = "red"
    with pytest.raises(SpecError, match=r"per_frame\.rings\[0\]\.color"):
        ModelSpec.from_dict(data)
    data = per_frame.to_dict()
    data["per_frame"]["parts"] = ["head"]
    with pytest.raises(SpecError, match=r"per_frame\.parts is .*; it must be an object"):
        ModelSpec.from_dict(data)
