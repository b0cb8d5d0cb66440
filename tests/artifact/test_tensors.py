"""Inputs and outputs as the libraries that run a model give them."""

import pytest
from models import brightness_model, spec_of_brightness

from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.artifact.tensors import ModelTensor, Tensors, tensors_of
from r2p_edge.errors import ModelError
from r2p_edge.spec import InputSpec


@pytest.mark.parametrize(("batch", "size"), [(1, 1), (3, 3), ("N", -1)])
def test_onnx(tmp_path, batch, size):
    path = brightness_model(tmp_path / "m.onnx", batch=batch)
    assert tensors_of(open_artifact(path)) == Tensors(
        ModelTensor("frames", (size, 4, 8, 8, 3)), ModelTensor("logits", (size, 4))
    )


def test_onnx_is_as_onnx_runtime_says(tmp_path, motion_model):
    import onnxruntime

    session = onnxruntime.InferenceSession(motion_model, providers=["CPUExecutionProvider"])
    found = tensors_of(open_artifact(motion_model))
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert found == Tensors(
        ModelTensor(taken.name, tuple(taken.shape)), ModelTensor(given.name, tuple(given.shape))
    )


def test_the_only_tensor_is_taken_whatever_its_name(tmp_path):
    path = brightness_model(tmp_path / "m.onnx")
    spec = spec_of_brightness(input=InputSpec(name="other"))
    assert tensors_of(open_artifact(path, spec)).input.name == "frames"


def test_an_engine_has_those_of_its_spec(tmp_path):
    path = tmp_path / "m.engine"
    path.write_bytes(b"plan")
    write_sidecar(path, spec_of_brightness())
    assert tensors_of(open_artifact(path)) == Tensors(
        ModelTensor("frames", (1, 4, 8, 8, 3)), ModelTensor("logits", (1, 4))
    )


def test_a_contract_of_another_model_is_refused(tmp_path):
    path = brightness_model(tmp_path / "m.onnx")
    spec = spec_of_brightness(input=InputSpec(layout="NCTHW"))
    with pytest.raises(ModelError, match="export the model again"):
        tensors_of(open_artifact(path, spec))


@pytest.mark.slow
def test_openvino_is_as_openvino_says(tmp_path):
    openvino = pytest.importorskip("openvino")
    from r2p_edge.export.build import build

    model = brightness_model(tmp_path / "m.onnx")
    (artifact,) = build(model, targets=["openvino"], out=tmp_path / "ov").built
    read = openvino.Core().read_model(artifact.path)
    found = tensors_of(open_artifact(artifact.path))
    assert found.input == ModelTensor(read.input(0).any_name, tuple(read.input(0).shape))
    assert found.output == ModelTensor(read.output(0).any_name, tuple(read.output(0).shape))


def test_a_file_that_is_cut_off(tmp_path):
    whole = brightness_model(tmp_path / "m.onnx")
    spec = spec_of_brightness()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(ModelError, match="not a whole ONNX file"):
        tensors_of(open_artifact(cut, spec))
