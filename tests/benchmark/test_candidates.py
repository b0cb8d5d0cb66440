"""The rows of a benchmark, from the files and the runtimes that are here."""

from __future__ import annotations

import sys

import pytest
from benchmark_rows import artifact
from pairs import two_models
from per_frame_models import write_per_frame_model, write_semi_causal_model

from r2p_edge import _isolated
from r2p_edge.artifact import open_artifact
from r2p_edge.artifact.two_streams import open_model_or_pair
from r2p_edge.benchmark.candidates import (
    Abilities,
    candidates_of,
    per_frame_candidates,
    runtimes_here,
)
from r2p_edge.errors import BackendError, SpecError

HERE = {
    "onnxruntime": Abilities("1.0", {"cpu": []}),
    "openvino": Abilities("2.0", {"cpu": ["fp32", "bf16"], "gpu": ["fp32", "fp16"]}),
    "mindspore": Abilities("3.0", {"cpu": []}),
}
LITE = {"runtime": "mindspore_lite", "device": "cpu"}
SPORE = {"runtime": "mindspore", "device": "cpu"}


def rows(*artifacts, here=HERE):
    """Return (file, runtime, device, precision) of each row, and what is left out."""
    found, left_out = candidates_of(artifacts, here)
    named = [(each.artifact.path.name, each.runtime, each.device, each.precision) for each in found]
    return named, left_out


def test_two_streams_on_each_pair_of_runtimes(tmp_path):
    pair = open_model_or_pair(two_models(tmp_path), fusion="i3d")
    found, _ = rows(pair)
    assert [row[1:] for row in found] == [
        (runtime, None, None)
        for runtime in ("onnxruntime", "onnxruntime+openvino", "openvino+onnxruntime", "openvino")
    ]
    found, left_out = rows(pair, here={"mindspore": HERE["mindspore"]})
    assert not found
    assert [each.what for each in left_out] == ["rgb.onnx", "flow.onnx"]


def test_each_file_on_each_runtime_device_and_precision():
    found, left_out = rows(
        artifact("m-int8.xml", precision="int8"),
        artifact("m-fp32.xml"),
        artifact("m-fp32-conv2d.onnx", graph="conv2d"),
        artifact("m-fp32.onnx"),
        artifact("m.mindir", target=SPORE),
    )
    assert found == [
        ("m-fp32.onnx", "onnxruntime", "cpu", None),
        ("m-fp32.xml", "openvino", "cpu", None),
        ("m-fp32.xml", "openvino", "cpu", "bf16"),
        ("m-fp32.xml", "openvino", "gpu", None),
        ("m-fp32.xml", "openvino", "gpu", "fp16"),
        ("m.mindir", "mindspore", None, None),
        ("m-fp32-conv2d.onnx", "onnxruntime", "cpu", None),
        ("m-fp32-conv2d.onnx", "openvino", "cpu", None),
        ("m-fp32-conv2d.onnx", "openvino", "cpu", "bf16"),
        ("m-fp32-conv2d.onnx", "openvino", "gpu", None),
        ("m-fp32-conv2d.onnx", "openvino", "gpu", "fp16"),
        ("m-int8.xml", "openvino", "cpu", None),
        ("m-int8.xml", "openvino", "gpu", None),
    ]
    assert left_out == [
        ("openvino fp16", "the cpu here does not compute in it"),
        ("openvino bf16", "the gpu here does not compute in it"),
    ]


def test_a_file_of_a_runtime_that_is_not_here():
    found, left_out = rows(artifact("m.onnx"), artifact("m.mindir", target=LITE))
    assert {row[0] for row in found} == {"m.onnx"}
    assert left_out[2:] == [("m.mindir", "mindspore_lite would run it, and is not here")]
    found, (*_, (_, reason)) = rows(artifact("m.engine"))
    assert (found, reason) == ([], "tensorrt or tensorrt_rtx would run it, and is not here")


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"labels": ("a", "b", "c", "d")}, "labels"),
        ({"source": {"sha256": "b"}}, "source"),
    ],
)
def test_files_of_several_models(changes, fields):
    one = artifact("one.onnx", source={"sha256": "a"})
    other = artifact("two.xml", **{"source": {"sha256": "a"}, **changes})
    with pytest.raises(SpecError, match=f"one.onnx and two.xml are not of .* differ in {fields};"):
        rows(one, other)


def test_runtimes_of_this_machine(tmp_path, monkeypatch):
    for name in ("acl", "tensorrt", "mindspore", "openvino"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    def call(function, arguments, timeout):
        answers = {
            "acl": {"version": None, "devices": {}},
            "mindspore": {"version": "2.0", "devices": {"cpu": []}},
        }
        if arguments["runtime"] in answers:
            return answers[arguments["runtime"]]
        raise BackendError(f"{arguments['runtime']} is broken")

    monkeypatch.setattr(_isolated, "call", call)
    here, left_out = runtimes_here(["acl", "tensorrt", "mindspore", "ais_bench"], 1)
    assert here == {"mindspore": Abilities("2.0", {"cpu": []})}
    assert left_out == [
        ("acl", "it finds no device"),
        ("tensorrt", "tensorrt is broken"),
        ("ais_bench", "not installed"),
    ]


def test_rows_of_per_frame_forms_are_on_devices_that_run_parts(tmp_path):
    here = {
        "onnxruntime": Abilities("1.0", {"cpu": [], "cuda": []}, ["cpu"]),
        "openvino": Abilities("2.0", {"cpu": ["fp32", "bf16"], "gpu": ["fp32"]}, ["cpu"]),
    }
    path = write_per_frame_model(tmp_path)
    found = per_frame_candidates([open_artifact(path), artifact("m.onnx")], here)
    assert [(each.runtime, each.device, each.precision, each.border) for each in found] == [
        (runtime, "cpu", precision, border)
        for runtime, precision in (("onnxruntime", None), ("openvino", None), ("openvino", "bf16"))
        for border in ("flush", "wait")
    ]
    assert {(each.artifact.path, each.per_frame) for each in found} == {(path, True)}


def test_a_form_that_answers_at_each_frame_has_no_border(tmp_path):
    here = {"onnxruntime": Abilities("1.0", {"cpu": []}, ["cpu"])}
    found = per_frame_candidates([open_artifact(write_semi_causal_model(tmp_path))], here)
    assert [(each.per_frame, each.border) for each in found] == [(True, None)]
