"""verify finds the differences that were made on purpose, and names where they begin."""

from __future__ import annotations

import re

import numpy as np
import pytest
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.errors import ModelError, ParityError
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters
from r2p_edge.export.verify import first_difference
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.parity import parity_record, verify_onnx
from r2p_edge.export.verify.reference import reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.runtimes.base import usable_cores
from r2p_edge.spec.model_spec import InputSpec

pytestmark = [needs("onnx"), needs("onnxruntime")]
EPS = 1e-5
SPEC = spec_for(7)
CLIPS = verification_clips(SPEC, 3)


@pytest.fixture(scope="module")
def parameters():
    return random_parameters(**SMALL)


def exported(parameters, spec=SPEC, eps=EPS, batch=1):
    network = network_from_parameters(parameters, eps)
    return onnx_from_parameters(parameters, network, spec, batch=batch).SerializeToString()


def check(model, parameters, spec=SPEC, eps=EPS, clips=CLIPS):
    return verify_onnx(
        model,
        spec,
        clips,
        reference_logits(parameters, eps, normalized(clips, spec)),
        reference="numpy",
        activations=lambda clip: reference_activations(parameters, eps, normalized(clip, spec)),
    )


@pytest.mark.parametrize("batch", [1, 2, 4])
@pytest.mark.parametrize(
    "input",
    [
        InputSpec(),
        InputSpec(layout="NCTHW"),
        InputSpec(dtype="float32"),
        InputSpec(dtype="float32", normalized_in_graph=False),
        InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
    ],
)
def test_a_right_model_agrees_whatever_its_input(parameters, input, batch):
    spec = spec_for(7, input=input)
    found = check(exported(parameters, spec, batch=batch), parameters, spec)
    assert found["max_rel"] < 5e-6
    assert found["max_abs"] > 0
    assert (found["top1"], found["cosine"], found["clips"]) == (1.0, 1.0, 3)
    assert found["reference"] == "numpy"
    assert found["tolerance"] == {"max_rel": 1e-4}
    assert re.fullmatch(r"onnxruntime \d+\.\d+.*", found["runtime"])


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ("conv1.weight", "bn1.relu"),
        ("bn2.running_mean", "bn2.relu"),
        ("layer1.0.conv1.conv1.weight", "layer1.0.conv1.bn1.relu"),
        ("layer2.0.bn1.running_var", "layer2.0.bn1.relu"),
        ("layer2.0.conv2.bn1.bias", "layer2.0.conv2.bn1.relu"),
        ("layer3.0.conv2.conv2.weight", "layer3.0.bn2"),
        ("layer4.0.downsample.1.weight", "layer4.0.downsample.1"),
        ("fc.bias", "logits"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 28])
def test_the_first_tensor_that_differs_is_named(parameters, changed, first, chunk, monkeypatch):
    monkeypatch.setattr(first_difference, "_CHUNK_BYTES", chunk)
    value = parameters[changed].copy()
    value += 0.5
    model = exported({**parameters, changed: value})
    with pytest.raises(ParityError, match=rf"differs is {re.escape(first)}, by") as raised:
        check(model, parameters)
    assert "source (numpy)" in str(raised.value)


def test_another_epsilon_shows_in_the_first_layer(parameters):
    with pytest.raises(ParityError, match=r"differs is bn1\.relu"):
        check(exported(parameters, eps=1e-3), parameters)


def test_swapped_convolutions_show_where_they_are():
    parameters = random_parameters((1, 1, 2, 1), (8, 12, 16, 24), 7)
    one, other = "layer3.1.conv1.conv1.weight", "layer3.1.conv2.conv1.weight"
    swapped = {**parameters, one: parameters[other], other: parameters[one]}
    with pytest.raises(ParityError, match=r"differs is layer3\.1\.conv1\.bn1\.relu"):
        check(exported(swapped), parameters)


def test_another_normalisation_shows_in_the_first_layer(parameters):
    model = exported(parameters, SPEC.replace(mean=(0.45, 0.45, 0.45)))
    with pytest.raises(ParityError, match=r"differs is bn1\.relu"):
        check(model, parameters)


def test_a_stride_shows_as_a_shape(parameters):
    import onnx

    model = onnx.load_model_from_string(exported(parameters))
    (node,) = [n for n in model.graph.node if n.name == "layer4.0.conv1.conv1"]
    (other,) = [n for n in model.graph.node if n.name == "layer4.0.downsample.0"]
    for entry in (node, other):
        (strides,) = [a for a in entry.attribute if a.name == "strides"]
        strides.ints[2] = 1
    with pytest.raises(ParityError, match=r"layer4\.0\.conv1\.bn1\.relu: \(1, \d+, 1, 2, 4\), not"):
        check(model.SerializeToString(), parameters)


def test_nan_is_traced_to_where_it_begins(parameters):
    weight = parameters["layer3.0.conv1.conv2.weight"].copy()
    weight[0] = np.nan
    network = network_from_parameters(parameters, EPS)
    broken = {**parameters, "layer3.0.conv1.conv2.weight": weight}
    model = onnx_from_parameters(broken, network, SPEC).SerializeToString()
    with pytest.raises(ParityError, match=r"NaN or infinite.*differs is layer3\.0\.bn1\.relu"):
        check(model, parameters)


def test_without_activations_the_figures_are_still_given(parameters):
    logits = reference_logits(parameters, EPS, normalized(CLIPS, SPEC))
    logits[1, 2] += 1
    with pytest.raises(
        ParityError, match=r"over 3 clips .* differ by up to 1,.*fp32 allows"
    ) as raised:
        verify_onnx(exported(parameters), SPEC, CLIPS, logits, reference="torch 2.13.0")
    assert "first tensor" not in str(raised.value)
    assert "torch 2.13.0" in str(raised.value)


def test_a_file_is_read_and_named(parameters, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(parameters))
    assert check(path, parameters)["max_rel"] < 5e-6
    with pytest.raises(ParityError, match=r"model\.onnx does not answer"):
        check(path, random_parameters(**SMALL, seed=1))


def test_each_precision_has_its_own_tolerance():
    reference = np.array([[1.0, 2.0, -4.0]])
    near = agreement(reference, reference * (1 + 5e-5))
    half = agreement(reference, reference + np.array([0.02, -0.02, 0.02]))
    far = agreement(reference, -reference)
    for found, precision, passes in [
        (near, "fp32", True),
        (half, "fp32", False),
        (half, "fp16", True),
        (half, "bf16", True),
        (far, "fp16", False),
        (far, "bf16", False),
        (far, "int8", True),
    ]:
        if passes:
            record = parity_record(found, precision, reference="onnx", artifact="model.xml")
            assert ("tolerance" in record) == (precision != "int8")
        else:
            with pytest.raises(ParityError, match=r"model\.xml .*" + precision):
                parity_record(found, precision, reference="onnx", artifact="model.xml")


def test_what_is_no_model_and_what_has_another_input_are_model_errors(parameters):
    with pytest.raises(ModelError, match="cannot load"):
        check(b"\x08\x08not a model", parameters)
    longer = spec_for(7, frames=6)
    with pytest.raises(ModelError, match=r"cannot run the model on uint8 \(1, 6, 32, 32, 3\)"):
        check(exported(parameters), parameters, longer, clips=verification_clips(longer, 1))


def test_a_model_is_proven_with_the_options_that_a_predictor_has(parameters):
    options = open_session(exported(parameters)).get_session_options()
    assert options.intra_op_num_threads == usable_cores()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
