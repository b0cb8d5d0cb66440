"""The contract as a whole: JSON, files and its digest."""

from __future__ import annotations

import copy
import dataclasses
import json

import pytest

from r2p_edge.errors import SpecError
from r2p_edge.spec import ModelSpec, ResizeSpec


def test_json_round_trip(spec):
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_lists_are_tuples(spec):
    lists = {name: list(getattr(spec, name)) for name in ("labels", "mean", "std")}
    assert spec.replace(**lists) == spec


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
    for text, message in (
        ("model:\n  depth: 34\n", "is not valid JSON .*; a spec is JSON as ModelSpec.to_json"),
        ('{"0": "walk", "1": "run"}', r'it has no "format" \(0, 1\); .* belong in --labels'),
        ('["walk", "run"]', "is none, as the file is no JSON object; a spec is JSON"),
        ('{"spec": {"format": 1}, "size": 3}', "name"),
        ('{"format": 0}', "format is 0, and .* reads 1; export the model again, or write the spec"),
        ('{"format": 2}', "format is 2, and .* reads 1; upgrade r2p_edge"),
    ):
        file.write_text(text)
        with pytest.raises(SpecError, match=message):
            ModelSpec.from_file(file)


def test_the_sidecar_of_an_artifact_is_read_as_its_spec(spec, tmp_path):
    file = tmp_path / "net.onnx.json"
    file.write_text(f'{{"spec": {spec.to_json()}, "size": 3}}')
    assert ModelSpec.from_file(file) == spec


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_spec_that_windows_saved(spec, tmp_path, encoding):
    (tmp_path / "spec.json").write_bytes(spec.to_json().encode(encoding))
    assert ModelSpec.from_file(tmp_path / "spec.json") == spec


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


FEATURES = {"features": [24], "feature_map": [24, 2, 7, 7]}


def test_further_outputs_do_not_change_the_contract(spec):
    further = spec.replace(feature_outputs={**FEATURES, "class_activation": [3, 2, 7, 7]})
    assert further.contract_digest() == spec.contract_digest()
    assert ModelSpec.from_json(further.to_json()) == further
    assert "feature_outputs" not in spec.to_dict()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "feature_outputs has nothing; it must have features, feature_map and"),
        ({"features": [24]}, "feature_outputs has features; it must have"),
        ({**FEATURES, "more": [1]}, "feature_outputs has features, feature_map, more; it must"),
        ({**FEATURES, "features": [1, 24]}, r"feature_outputs.features is \[1, 24\]; .* 1 sizes"),
        ({**FEATURES, "feature_map": [24, 0, 7, 7]}, "feature_outputs.feature_map is"),
        ({**FEATURES, "feature_map": "24"}, "feature_outputs.feature_map is '24'; it must be 4"),
        ({**FEATURES, "features": [True]}, "feature_outputs.features is"),
    ],
)
def test_a_wrong_record_of_further_outputs(spec, record, message):
    with pytest.raises(SpecError, match=message):
        spec.replace(feature_outputs=record)
