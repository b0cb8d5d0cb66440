"""The contract: what it accepts, what it refuses and with which words."""

import copy
import dataclasses
import json

import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec


@pytest.fixture
def spec():
    return ModelSpec(
        name="r2plus1d_18-test",
        labels=("jump", "run"),
        clip=ClipSpec(frames=16, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=128, width=171),
        crop=CropSpec(height=112, width=112),
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )


def test_json_round_trip(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_integer_is_a_number(spec):
    data = spec.to_dict()
    data["clip"]["fps"] = 25
    assert ModelSpec.from_dict(data) == spec


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "unknown field colour"),
        ("clip.stride", 1, "unknown field clip.stride"),
        ("std", [0.2, 0.2, float("nan")], "std is .*nan.*finite"),
        ("std", [0.2, 0.2, 0.0], "must be positive"),
        ("scale", float("inf"), "scale is inf"),
        ("mean", [0.5, 0.5], "list of 3 items"),
        ("mean", "0.5", "list of 3 items"),
        ("scale", True, "of type float"),
        ("labels", [], "labels is empty"),
        ("labels", ["run", "run"], "run more than once"),
        ("labels", [1, 2], r"labels\[0\]"),
        ("clip.frames", 0, "clip.frames is 0"),
        ("clip.frames", 16.5, "clip.frames is 16.5; it must be of type int"),
        ("clip.fps", float("nan"), "clip.fps is nan"),
        ("clip.order", "random", '"temporal", "lexicographic"'),
        ("clip.order", "lexicographic", "set clip.sampling to index"),
        ("resize.mode", "letterbox", '"stretch", "short_side"'),
        ("resize.size", 128, "resize.size has no meaning"),
        ("resize.height", None, "resize.height is None"),
        ("crop.height", 200, "crop is 200x112"),
        ("input.normalized_in_graph", False, "normalized_in_graph"),
        ("format", 2, "format is 2"),
        ("precision", "int4", '"int8"'),
        ("clip", 16, "clip is 16; it must be an object"),
        ("calibration", 5, "calibration is 5"),
    ],
)
def test_a_wrong_field_is_named(spec, path, value, message):
    data = spec.to_dict()
    *groups, name = path.split(".")
    target = data
    for group in groups:
        target = target[group]
    target[name] = value
    with pytest.raises(SpecError, match=message):
        ModelSpec.from_dict(data)


@pytest.mark.parametrize(
    "name", ["name", "labels", "clip", "resize", "crop", "scale", "mean", "std"]
)
def test_a_missing_field_is_named(spec, name):
    data = spec.to_dict()
    del data[name]
    with pytest.raises(SpecError, match=f"missing field {name}"):
        ModelSpec.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "spec", 3])
def test_not_an_object(data):
    with pytest.raises(SpecError, match="JSON object"):
        ModelSpec.from_dict(data)


def test_a_file_that_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match="cannot be read"):
        ModelSpec.from_file(tmp_path / "absent.json")
    file = tmp_path / "spec.json"
    file.write_text("{")
    with pytest.raises(SpecError, match=r"spec\.json is not valid JSON"):
        ModelSpec.from_file(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not valid JSON"):
        ModelSpec.from_file(file)


def test_digest_covers_what_decides_the_answer(spec):
    digest = spec.contract_digest()
    assert digest == ModelSpec.from_json(spec.to_json()).contract_digest()
    deciding = [
        {"labels": ("run", "jump")},
        {"clip": dataclasses.replace(spec.clip, interval=1)},
        {"resize": ResizeSpec(mode="short_side", size=128)},
        {"crop": dataclasses.replace(spec.crop, rounding="floor")},
        {"scale": 1.0},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"precision": "fp16"},
        {"source": {"sha256": "0"}},
        {"input": dataclasses.replace(spec.input, color="BGR")},
        {"output": dataclasses.replace(spec.output, kind="probabilities")},
    ]
    digests = [spec.replace(**change).contract_digest() for change in deciding]
    assert len({digest, *digests}) == len(deciding) + 1
    for change in ({"name": "other"}, {"parity": {"max_abs": 0.0}}, {"built_with": {"onnx": "1"}}):
        assert spec.replace(**change).contract_digest() == digest


def test_input_shape_follows_the_layout(spec):
    assert spec.input_shape == (1, 16, 112, 112, 3)
    planes = dataclasses.replace(spec.input, dtype="float32", layout="NCTHW")
    assert spec.replace(input=planes).input_shape == (1, 3, 16, 112, 112)


def test_frozen(spec):
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.scale = 2.0
    assert copy.deepcopy(spec) == spec
