"""R(2+1)D networks as ONNX graphs: their input, names and bytes, and specs that do not fit."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
from networks import SMALL, network_of, random_parameters, spec_for

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.spec import InputSpec, ModelSpec, OutputSpec

pytest.importorskip("onnx")
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters


@pytest.fixture(scope="module")
def small():
    return random_parameters(**SMALL)


@pytest.fixture(scope="module")
def small_shape(small):
    return network_of(small)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("a", "b")}, "7 classes but the spec has 2 labels"),
        ({"arch": "r2plus1d_18"}, "is r2plus1d_1-1-1-1 but the spec says r2plus1d_18"),
        ({"output": OutputSpec(kind="probabilities")}, "ends in logits"),
        ({"precision": "fp16"}, "precision is fp16"),
        ({"input": InputSpec(name="layer1.0")}, "layer1.0"),
        ({"output": OutputSpec(name="pool")}, "pool"),
    ],
)
def test_a_spec_that_contradicts_the_network_is_refused(small, small_shape, change, message):
    with pytest.raises(SpecError, match=message):
        onnx_from_parameters(small, small_shape, spec_for(7).replace(**change))


@pytest.mark.parametrize("sizes", [{"frames": 1}, {"size": 8}])
def test_clips_too_small_for_motion_are_refused(small, small_shape, sizes):
    with pytest.raises(SpecError, match="at least to see motion"):
        onnx_from_parameters(small, small_shape, spec_for(7, **sizes))


def test_a_mean_of_fewer_features_than_there_are_is_refused(small, small_shape):
    shape = dataclasses.replace(small_shape, features=(2, 2, 2))
    spec = spec_for(7, frames=9, size=17)
    assert shape.features_of((9, 17, 17)) == (2, 2, 2)
    assert onnx_from_parameters(small, shape, spec).graph.node
    with pytest.raises(
        SpecError, match=r"give features of 3 x 3 x 3, but the .* mean of 2 x 2 x 2"
    ):
        onnx_from_parameters(small, shape, spec_for(7, frames=17, size=33))


def test_a_batch_below_one_is_refused(small, small_shape):
    with pytest.raises(UsageError, match="batch is 0"):
        onnx_from_parameters(small, small_shape, spec_for(7), batch=0)


INPUTS = [
    (InputSpec(), ["Cast", "Mul", "Add", "Transpose"]),
    (InputSpec(layout="NCTHW"), ["Cast", "Mul", "Add"]),
    (InputSpec(dtype="float32"), ["Mul", "Add", "Transpose"]),
    (InputSpec(dtype="float32", normalized_in_graph=False), ["Transpose"]),
    (InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False), []),
]


@pytest.mark.parametrize(("input", "front"), INPUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_is_what_the_spec_says(small, small_shape, input, front, batch):
    import onnx

    spec = spec_for(7, input=dataclasses.replace(input, name="video"))
    model = onnx_from_parameters(small, small_shape, spec, batch=batch)
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    operators = [node.op_type for node in model.graph.node]
    assert operators[: len(front) + 1] == [*front, "Conv"]
    assert set(operators[len(front) :]) == {"Conv", "Relu", "Add", "ReduceMean", "Gemm"}

    (value,), (output,) = model.graph.input, model.graph.output
    assert value.name == "video"
    assert [d.dim_value for d in value.type.tensor_type.shape.dim] == [batch, *spec.input_shape[1:]]
    assert output.name == "logits"
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [batch, 7]
    (entry,) = model.metadata_props
    assert entry.key == "r2p_edge.spec"
    assert ModelSpec.from_json(entry.value) == spec


def test_tensors_are_named_for_the_source_network(small, small_shape):
    model = onnx_from_parameters(small, small_shape, spec_for(7))
    nodes = {node.name: node for node in model.graph.node}
    spatial = nodes["layer2.0.conv1.conv1"]
    assert spatial.op_type == "Conv"
    assert list(spatial.input) == [
        "layer1.0",
        "layer2.0.conv1.conv1.weight",
        "layer2.0.conv1.conv1.bias",
    ]
    assert list(spatial.output) == ["layer2.0.conv1.bn1"]
    assert list(nodes["fc"].input) == ["pool", "fc.weight", "fc.bias"]
    tensors = [name for node in model.graph.node for name in node.output]
    assert len(set(tensors)) == len(tensors)
    assert all(node.name for node in model.graph.node)


@pytest.mark.slow
def test_the_same_network_gives_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import sys, hashlib; from networks import *;"
        "m = small_network(spec_for(7));"
        "print(hashlib.sha256(m.SerializeToString(deterministic=True)).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
