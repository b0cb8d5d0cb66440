"""The contract: what it accepts, what it refuses and with which words."""

import copy
import dataclasses
import json

import numpy as np
import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec

HUGE = 10**400  # beyond every float


def nested(depth):
    return {"a": nested(depth - 1)} if depth else {}


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


def test_lists_are_tuples(spec):
    lists = {name: list(getattr(spec, name)) for name in ("labels", "mean", "std")}
    assert spec.replace(**lists) == spec


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
        ("format", True, "format is True"),
        ("clip.frames", 1_000_001, "clip.frames is 1000001; .* from 1 to 1000000"),
        ("clip.frames", HUGE, "clip.frames is 1000.*0000; .* from 1 to"),
        ("clip.interval", 500_000, "a clip of 8000000 frames; make it at most 1000000"),
        ("clip.fps", 9e-4, "clip.fps is 0.0009; .* from 0.001 to 10000"),
        ("clip.fps", 10_001, "clip.fps is 10001"),
        ("clip.fps", HUGE, "clip.fps is 1000.*finite number"),
        ("resize.height", 32_768, "resize.height is 32768; .* from 1 to 32767"),
        ("resize.width", -1, "resize.width is -1"),
        ("crop.height", HUGE, "crop.height is 1000"),
        ("crop.width", True, "crop.width is True"),
        ("scale", HUGE, "scale is 1000.*finite"),
        ("scale", 1e-42, "leave the range of float32"),
        ("scale", 1e300, "leave the range of float32"),
        ("mean", [0.0, 0.0, 1e38], "leave the range of float32"),
        ("mean", [0.0, 0.0, HUGE], r"mean\[2\] is 1000.*finite"),
        ("std", [1e-42, 1.0, 1.0], "leave the range of float32"),
        ("std", [1e300, 1.0, 1.0], "leave the range of float32"),
        ("labels", ["run", " "], r"labels\[1\] is ' '; it must be one line"),
        ("labels", ["run\n", "jump"], r"labels\[0\]"),
        ("labels", ["run\u2028jump", "jump"], r"labels\[0\]"),
        ("labels", ["run", "\ud800"], r"labels\[1\] is .*UTF-8"),
        ("name", "", "name is ''; it must be one line of text"),
        ("name", "\udcff", "name is .*UTF-8"),
        ("arch", "", "arch is ''"),
        ("input.name", "", "input.name is ''"),
        ("output.name", "\ud800", "output.name is .*UTF-8"),
        ("parity", {"max_rel": float("nan")}, "parity.max_rel is nan"),
        ("accuracy", {"top1": [1.0, float("inf")]}, r"accuracy.top1\[1\] is inf"),
        ("source", {"size": HUGE}, "source.size is 1000.*64 bits"),
        ("source", {"file": "\ud800"}, "source.file is .*UTF-8"),
        ("source", {"\ud800": 1}, "a key of source is .*UTF-8"),
        ("target", nested(40), "nested more than 32 deep"),
        ("colour\nof", 1, r"unknown field 'colour\\nof'"),
    ],
    # pytest shortens long values itself; lone surrogates do not go into an id.
    ids=ascii,
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


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, "not valid JSON"),
        ("[" * 900 + "]" * 900, "must be of type int"),
        ("9" * 5000, "not valid JSON|clip.frames is an int beyond|clip.frames is 9"),
        ("Infinity", "must be of type int"),
    ],
)
def test_json_of_extremes(spec, value, message):
    text = spec.to_json().replace('"frames": 16', f'"frames": {value}')
    with pytest.raises(SpecError, match=message) as caught:
        ModelSpec.from_json(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"a": np.float32(1)}, "parity.a is"),
        ({"a": {1, 2}}, "parity.a is"),
        ({1: 2}, "has the key 1"),
        ([1], "must be a dict"),
    ],
)
def test_a_record_that_json_cannot_hold_is_refused_at_once(spec, record, message):
    with pytest.raises(SpecError, match=message):
        spec.replace(parity=record)


def test_records_of_plain_types_are_kept(spec):
    record = {"a": [1, 2.5, None, True, {"b": "ü"}], "n": -(2**63) + 1, "deep": nested(20)}
    kept = spec.replace(accuracy=record)
    assert ModelSpec.from_json(kept.to_json().encode()) == kept


def test_the_bounds_themselves_are_allowed(spec):
    for changes in (
        {"clip": ClipSpec(frames=1_000_000, interval=1, fps=1e-3)},
        {"clip": ClipSpec(frames=1, interval=1_000_000, fps=1e4)},
        {"resize": ResizeSpec(mode="short_side", size=32_767)},
        {"scale": 1, "std": (255, 255, 255)},
        {"std": (1e-30, 1.0, 1e30)},
    ):
        changed = spec.replace(**changes)
        assert ModelSpec.from_json(changed.to_json()) == changed


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
