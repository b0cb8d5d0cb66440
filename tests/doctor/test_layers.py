"""Test models of doctor: their files, their numbers, and the mistakes that these reveal."""

from __future__ import annotations

import itertools
import json
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from real_mindspore_lite import needs_real_lite, real_lite
from requirements import needs

from r2p_edge.doctor import layers
from r2p_edge.export.targets.mindspore_lite.converter import Converter, run_converter
from r2p_edge.runtimes.mindspore_lite import MindSporeLite

ASSETS = Path(str(resources.files("r2p_edge") / "assets"))


@needs("onnx")
@pytest.mark.parametrize("layer", layers.LAYERS)
def test_the_test_models_are_what_this_makes(layer):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from r2p_edge.export.graph import builder as graph_builder

    batch, weights, bias, expected = layers.case(layer)
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    "Conv",
                    ["frames", "weights", "bias"],
                    ["logits"],
                    name=layer,
                    pads=[1] * 2 * (batch.ndim - 2),
                )
            ],
            layer,
            [helper.make_tensor_value_info("frames", TensorProto.FLOAT, batch.shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, expected.shape)],
            [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
        ),
        ir_version=graph_builder.IR_VERSION,
        opset_imports=[helper.make_opsetid("", graph_builder.OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    made = model.SerializeToString(deterministic=True)
    assert made == (ASSETS / f"{layer}.onnx").read_bytes()
    assert len(made) < 4096


@pytest.mark.parametrize("layer", layers.LAYERS)
def test_the_mindir_models_have_the_same_weights(layer):
    _, weights, bias, _ = layers.case(layer)
    made = (ASSETS / f"{layer}.mindir").read_bytes()
    for array in (weights, bias):
        assert made.count(array.astype("<f4").tobytes()) == 1
    assert len(made) < 8192


@needs("mindspore")
@pytest.mark.slow
@needs("onnx")
@pytest.mark.parametrize("layer", layers.LAYERS)
def test_the_mindir_models_are_what_this_makes(layer, tmp_path):
    from r2p_edge.export.graph.model import load_onnx
    from r2p_edge.export.targets.mindspore import export as mindspore_export
    from r2p_edge.runtimes.mindspore import MindSpore

    model = load_onnx(ASSETS / f"{layer}.onnx")
    made = mindspore_export._export(MindSpore.library(), model, np.float32, tmp_path)
    # Not byte for byte: MindSpore numbers its nodes per process, and their order varies.
    before, after = (
        sorted(re.findall(rb"REF::\w+", path.read_bytes()))
        for path in (ASSETS / f"{layer}.mindir", made)
    )
    assert before == after
    assert f"REF::{layer.title()[:-1]}D".encode() in after
    assert layers.try_layer(MindSpore, made, "cpu", layer) == "ok"


@needs_real_lite()
@pytest.mark.slow
@needs("onnx")
def test_the_model_for_mindspore_lite_is_what_this_makes(tmp_path):
    import onnx
    from onnx import helper

    model = onnx.load(ASSETS / "conv2d.onnx")
    model.graph.node[0].attribute.append(helper.make_attribute("strides", [1, 1]))
    source = tmp_path / "conv2d.onnx"
    onnx.save(model, source)
    kept = ASSETS / "conv2d-mindspore_lite-cpu.mindir"
    with real_lite():
        made = run_converter(Converter(None), source, tmp_path, "cpu", "", 600)
        assert made.read_bytes() == kept.read_bytes()
        for path in (made, kept):
            assert layers.try_layer(MindSporeLite, path, "cpu", "conv2d") == "ok"


@needs_real_lite()
@pytest.mark.slow
def test_doctor_finds_mindspore_lite_well(run):
    with real_lite():
        _, output, _ = run("doctor", "--json")
    found = json.loads(output)["runtimes"]["mindspore_lite"]
    assert (found["status"], found["version"]) == ("ok", "2.0.0")
    assert found["devices"] == [{"device": "cpu", "conv3d": "none", "conv2d": "ok"}]


def convolve(batch, weights, bias, padding=1):
    """Return a convolution by its definition, number by number."""
    widths = [(0, 0), (0, 0)] + [(padding, 2 - padding)] * (batch.ndim - 2)
    padded = np.pad(batch, widths)
    size = [length + 2 - kernel + 1 for length, kernel in zip(batch.shape[2:], weights.shape[2:])]
    output = np.zeros((1, len(weights), *size))
    for channel, *place in np.ndindex(output.shape[1:]):
        window = tuple(slice(start, start + 3) for start in place)
        total = (padded[(0, slice(None), *window)] * weights[channel]).sum()
        output[(0, channel, *place)] = total + bias[channel]
    return output


@pytest.mark.parametrize("layer", layers.LAYERS)
def test_expected_numbers_are_those_of_the_definition_and_of_no_other(layer):
    batch, weights, bias, expected = layers.case(layer)
    np.testing.assert_array_equal(convolve(batch, weights, bias), expected)
    mistakes = {
        "channels swapped": (batch[:, ::-1], weights, bias),
        "outputs swapped": (batch, weights[::-1], bias[::-1]),
        "no bias": (batch, weights, 0 * bias),
        "padding at one end": (batch, weights, bias, 0),
    }
    for axis in range(2, batch.ndim):
        mistakes[f"kernel mirrored along {axis}"] = (batch, np.flip(weights, axis), bias)
        mistakes[f"input mirrored along {axis}"] = (np.flip(batch, axis), weights, bias)
    for one, other in itertools.combinations(range(2, batch.ndim), 2):
        mistakes[f"{one} and {other} swapped"] = (batch, weights.swapaxes(one, other), bias)
    for name, arguments in mistakes.items():
        assert np.abs(convolve(*arguments) - expected).max() >= 1, name


@pytest.mark.parametrize("layer", layers.LAYERS)
def test_the_numbers_survive_bf16(layer):
    # bf16 has 8 significant bits: whole numbers up to 256.
    batch, weights, bias, _ = layers.case(layer)
    largest = convolve(np.abs(batch), np.abs(weights), np.abs(bias)).max()
    assert largest <= 256
    for array in (batch, weights, bias):
        np.testing.assert_array_equal(array, array.round())
