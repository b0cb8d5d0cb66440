"""The ONNX forms that targets are built from."""

import pytest
from models import brightness_model
from networks import SMALL, spec_for
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.export.onnx_forms import OnnxForms
from r2p_edge.export.targets.table import TABLE

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SPEC = spec_for(SMALL["classes"], name="net")


@pytest.fixture
def forms(small_checkpoint, tmp_path):
    return OnnxForms(small_checkpoint, SPEC, tmp_path, any_input=True)


@pytest.mark.slow
def test_each_target_gets_what_it_runs_best(forms):
    for name, graph, dtype in (
        ("onnx", "conv3d", "uint8"),
        ("openvino-npu", "conv2d", "uint8"),
        ("mindspore", "conv3d", "uint8"),
        ("mindspore-lite", "conv2d", "float32"),
        ("ascend310p", "conv3d", "float32"),
        ("ascend310b", "conv2d", "float32"),
    ):
        form = forms.get(TABLE[name])
        assert (form.spec.graph, form.spec.input.dtype, form.fp32) == (graph, dtype, None)
        assert open_artifact(form.path).spec == form.spec


def test_a_form_is_made_once(forms, tmp_path):
    assert forms.get(TABLE["onnx"]) == forms.get(TABLE["openvino"]) == forms.get(TABLE["tensorrt"])
    assert len(list(tmp_path.glob("*.onnx"))) == 1


def test_one_form_for_all(small_checkpoint, tmp_path):
    forms = OnnxForms(small_checkpoint, SPEC, tmp_path, graph="conv2d")
    for name in ("onnx", "mindspore-lite"):
        spec = forms.get(TABLE[name]).spec
        assert (spec.graph, spec.input) == ("conv2d", SPEC.input)


def test_pixels_of_an_onnx_model_stay_pixels(tmp_path):
    """Its normalisation is in its graph, so float32 would be normalised twice."""
    source = brightness_model(tmp_path / "source.onnx")
    spec = open_artifact(source).spec
    forms = OnnxForms(source, spec, tmp_path, any_input=True)
    form = forms.get(TABLE["ascend310p"])
    assert (form.spec.input, form.spec.graph) == (spec.input, None)


class Quantizer:
    """Copies the fp32 form, and counts."""

    def __init__(self):
        self.calls = []

    def qdq(self, source, path, runtime):
        self.calls.append(runtime)
        path.write_bytes(source.read_bytes())
        return open_artifact(source).spec.replace(precision="int8")


def test_quantized_forms(small_checkpoint, tmp_path):
    quantizer = Quantizer()
    forms = OnnxForms(small_checkpoint, SPEC, tmp_path, any_input=True, quantizer=quantizer)
    onnx, openvino = forms.get(TABLE["onnx"]), forms.get(TABLE["openvino"])
    assert onnx == openvino
    assert (onnx.spec.precision, open_artifact(onnx.fp32).spec.precision) == ("int8", "fp32")
    tensorrt = forms.get(TABLE["tensorrt"])
    assert (tensorrt.fp32, tensorrt.path) != (onnx.fp32, onnx.path)
    assert quantizer.calls == ["cpu", "tensorrt"]
    # Its own tool quantizes.
    lite = forms.get(TABLE["mindspore-lite"])
    assert (lite.spec.precision, lite.fp32) == ("fp32", None)
