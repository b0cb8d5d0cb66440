from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.errors import CheckpointError, SpecError, UsageError
from r2p_edge.export.graph.r2plus1d import network_from_parameters, onnx_from_parameters
from r2p_edge.spec import InputSpec, ModelSpec, OutputSpec

EPS = 1e-5


@pytest.fixture(scope="module")
def small():
    return random_parameters(**SMALL)


@pytest.fixture(scope="module")
def small_network(small):
    return network_from_parameters(small, EPS)


@pytest.mark.parametrize(
    ("counts", "arch", "per_conv"),
    [
        ((2, 2, 2, 2), "r2plus1d_18", False),
        ((3, 4, 6, 3), "r2plus1d_34", False),
        ((3, 4, 6, 3), "r2plus1d_34", True),
        ((1, 2, 2, 1), "r2plus1d_1-2-2-1", False),
        ((2, 3, 2, 1), "r2plus1d_2-3-2-1", True),
    ],
)
def test_the_network_is_found_in_the_shapes(counts, arch, per_conv):
    widths = (16, 32, 64, 128)
    parameters = random_parameters(counts, widths, 12, per_conv=per_conv)
    network = network_from_parameters(parameters, 1e-3)
    assert (network.counts, network.arch) == (counts, arch)
    assert (network.stem, network.classes, network.bn_eps) == (11, 12, 1e-3)
    assert len(network.blocks) == sum(counts)
    firsts = {block.name: block for block in network.blocks if block.name.endswith(".0")}
    assert tuple(block.outputs for block in firsts.values()) == widths
    # 27 * i * o // (9 * i + 3 * o) with i = 16 or, per convolution, 32 input channels, o = 32.
    assert firsts["layer2.0"].mids == (57, 72 if per_conv else 57)
    assert [block.name for block in network.blocks if block.downsample] == [
        "layer2.0",
        "layer3.0",
        "layer4.0",
    ]


@pytest.mark.parametrize(
    ("counts", "classes", "per_conv", "published"),
    [
        ((2, 2, 2, 2), 400, False, 31_505_325),  # torchvision, r2plus1d_18
        ((2, 2, 2, 2), 400, True, 33_370_839),  # VMZ model zoo: 33.3 M
        ((3, 4, 6, 3), 400, True, 63_697_175),  # VMZ model zoo: 63.6 M
    ],
)
def test_full_size_networks_have_the_published_number_of_parameters(
    counts, classes, per_conv, published
):
    parameters = random_parameters(counts, classes=classes, per_conv=per_conv)
    network_from_parameters(parameters, EPS)
    statistics = re.compile(r"running_(mean|var)$")
    trained = sum(v.size for name, v in parameters.items() if not statistics.search(name))
    assert trained == published


def test_consistent_mid_channels_of_any_size_are_accepted(small):
    parameters = dict(small)
    name = "layer3.0.conv2"
    parameters[f"{name}.conv1.weight"] = small[f"{name}.conv1.weight"][:5]
    for field in ("weight", "bias", "running_mean", "running_var"):
        parameters[f"{name}.bn1.{field}"] = small[f"{name}.bn1.{field}"][:5]
    parameters[f"{name}.conv2.weight"] = small[f"{name}.conv2.weight"][:, :5]
    network = network_from_parameters(parameters, EPS)
    assert network.blocks[2].mids[1] == 5


def test_missing_unknown_and_misshapen_parameters_are_all_named(small):
    parameters = dict(small)
    del parameters["layer2.0.downsample.1.running_var"]
    parameters["layer4.0.bn2.bias"] = np.zeros(5, np.float32)
    parameters["head.extra"] = np.zeros((2, 3), np.float32)
    with pytest.raises(CheckpointError) as raised:
        network_from_parameters(parameters, EPS)
    message = str(raised.value)
    assert "layer2.0.downsample.1.running_var is missing, expected (12,)" in message
    assert "layer4.0.bn2.bias is (5,), expected (24,)" in message
    assert "head.extra (2, 3) is not part of the network" in message


def test_a_convolution_of_another_kernel_is_refused(small):
    weight = small["layer1.0.conv1.conv1.weight"]
    parameters = {**small, "layer1.0.conv1.conv1.weight": np.repeat(weight, 3, axis=2)}
    with pytest.raises(
        CheckpointError, match=r"is \(\d+, 8, 3, 3, 3\), expected \(\d+, 8, 1, 3, 3\)"
    ):
        network_from_parameters(parameters, EPS)


def test_optical_flow_input_is_refused(small):
    parameters = {**small, "conv1.weight": small["conv1.weight"][:, :2]}
    with pytest.raises(
        CheckpointError, match=r"conv1.weight is \(5, 2, 1, 7, 7\), expected \(5, 3"
    ):
        network_from_parameters(parameters, EPS)


def test_a_missing_convolution_leaves_its_channels_open(small):
    parameters = {name: v for name, v in small.items() if name != "conv2.weight"}
    with pytest.raises(
        CheckpointError, match=r"conv2.weight is missing, expected \(\?, 5, 3, 1, 1\)"
    ):
        network_from_parameters(parameters, EPS)


def test_a_missing_block_in_the_middle_and_a_missing_stage_are_named():
    parameters = random_parameters((1, 3, 1, 1), (8, 12, 16, 24), 7)
    gap = {name: v for name, v in parameters.items() if not name.startswith("layer2.1.")}
    with pytest.raises(
        CheckpointError, match=r"layer2\.1\.conv1\.conv1\.weight is missing"
    ) as raised:
        network_from_parameters(gap, EPS)
    # The 20 parameters of that block; the third one is where it should be.
    assert "; and 14 more;" in str(raised.value)
    stage = {name: v for name, v in parameters.items() if not name.startswith("layer4.")}
    with pytest.raises(CheckpointError, match=r"layer4\.0\.conv1\.conv1\.weight is missing"):
        network_from_parameters(stage, EPS)


def test_a_long_list_is_shortened(small):
    with pytest.raises(CheckpointError, match=r"; and \d+ more; give") as raised:
        network_from_parameters({"conv1.weight": small["conv1.weight"]}, EPS)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_name(small, value):
    weight = small["layer2.0.conv1.conv2.weight"].copy()
    weight[0, 0, 0] = value
    parameters = {**small, "layer2.0.conv1.conv2.weight": weight}
    with pytest.raises(CheckpointError, match=r"layer2\.0\.conv1\.conv2\.weight has 1 of \d+ num"):
        network_from_parameters(parameters, EPS)


def test_a_negative_variance_is_refused_but_other_negative_numbers_are_not(small):
    variance = small["bn1.running_var"].copy()
    variance[2] = -0.25
    with pytest.raises(CheckpointError, match=r"bn1\.running_var is a variance .* -0\.25"):
        network_from_parameters({**small, "bn1.running_var": variance}, EPS)
    assert small["bn1.running_mean"].min() < 0


def test_whole_numbers_are_refused(small):
    parameters = {**small, "fc.bias": np.zeros(7, np.int64)}
    with pytest.raises(CheckpointError, match=r"fc\.bias is of dtype int64"):
        network_from_parameters(parameters, EPS)


def test_finding_a_network_needs_no_onnx():
    code = (
        "import sys, r2p_edge.export, r2p_edge.export.video_resnet as v;"
        "v.network_from_parameters;"
        "print([m for m in ('onnx', 'onnxruntime', 'torch', 'mindspore') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


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
def test_a_spec_that_contradicts_the_network_is_refused(small, small_network, change, message):
    with pytest.raises(SpecError, match=message):
        onnx_from_parameters(small, small_network, spec_for(7).replace(**change))


@pytest.mark.parametrize("sizes", [{"frames": 1}, {"size": 8}])
def test_clips_too_small_for_motion_are_refused(small, small_network, sizes):
    with pytest.raises(SpecError, match="at least to see motion"):
        onnx_from_parameters(small, small_network, spec_for(7, **sizes))


def test_a_batch_below_one_is_refused(small, small_network):
    with pytest.raises(UsageError, match="batch is 0"):
        onnx_from_parameters(small, small_network, spec_for(7), batch=0)


INPUTS = [
    (InputSpec(), ["Cast", "Mul", "Add", "Transpose"]),
    (InputSpec(layout="NCTHW"), ["Cast", "Mul", "Add"]),
    (InputSpec(dtype="float32"), ["Mul", "Add", "Transpose"]),
    (InputSpec(dtype="float32", normalized_in_graph=False), ["Transpose"]),
    (InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False), []),
]


@needs("onnx")
@pytest.mark.parametrize(("input", "front"), INPUTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_graph_is_what_the_spec_says(small, small_network, input, front, batch):
    import onnx

    spec = spec_for(7, input=dataclasses.replace(input, name="video"))
    model = onnx_from_parameters(small, small_network, spec, batch=batch)
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


@needs("onnx")
def test_tensors_are_named_for_the_source_network(small, small_network):
    model = onnx_from_parameters(small, small_network, spec_for(7))
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


@needs("onnx")
def test_the_same_network_gives_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import sys, hashlib; from networks import *;"
        "from r2p_edge.export.video_resnet import *;"
        "p = random_parameters(**SMALL);"
        "m = onnx_from_parameters(p, network_from_parameters(p, 1e-5), spec_for(7));"
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
