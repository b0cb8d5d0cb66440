"""The layer that int8 spoils is found, and stays float."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantisation import CLIPS, SPEC, logits, named
from requirements import needs

from r2p_edge.agreement import agreement
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.qdq import PROFILES, qdq_from_float
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.calibration.ranges import observe
from r2p_edge.calibration.sensitivity import choose_float_layers, layer_noise
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

BEFORE, SPOILT = "layer2.0.conv2.conv1", "layer2.0.conv2.conv2"


@pytest.fixture(scope="module")
def spoilt(float_model, tmp_path_factory):
    """The same network, with a channel between two layers scaled up and down again."""
    model = onnx.load(float_model)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        if tensor.name in (f"{BEFORE}.weight", f"{BEFORE}.bias"):
            value[1] *= 3000
        elif tensor.name == f"{SPOILT}.weight":
            value[:, 1] /= 3000
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    path = tmp_path_factory.mktemp("spoilt") / "m.onnx"
    onnx.save(model, path)
    return path


class Case:
    """A model, and the placement and ranges of its int8 forms."""

    def __init__(self, path, profile="cpu"):
        self.model, self._made = named(path), PROFILES[profile]
        self.placement = self._place(())
        tensors = self.placement.tensors
        self._ranges = observe(self.model, SPEC, tensors, lambda: CLIPS).ranges

    def _place(self, keep):
        made = self._made
        return place(self.model, stem=made.stem, both_summands=made.both_summands, keep_float=keep)

    def quantise(self, keep):
        return qdq_from_float(self.model, self._place(keep), self._ranges, self._made)

    def choose(self, **options):
        return choose_float_layers(
            self.model, SPEC, self.placement, self.quantise, CLIPS[:3], **options
        )


@pytest.mark.parametrize("profile", ["cpu", "tensorrt"])
def test_noise_of_a_layer_is_that_of_the_layer_alone(float_model, profile):
    """The noise is measured again one layer at a time, with all others float."""
    case = Case(float_model, profile)
    noise = layer_noise(case.model, SPEC, case.placement, case.quantise(()), CLIPS[:2])
    assert sorted(noise) == sorted(case.placement.layers)
    assert list(noise.values()) == sorted(noise.values(), reverse=True)
    inputs = input_from_clips(CLIPS[:2], SPEC)

    def tensors(model, names):
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        del probe.graph.output[:]
        probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        session = open_session(probe.SerializeToString())
        return [
            np.stack(each)
            for each in zip(*(session.run(None, {"frames": clip[None]}) for clip in inputs))
        ]

    # One whose output only goes on, and one whose output a sum reads.
    for layer, output, signal in (
        ("layer1.0.conv1.conv2", "layer1.0.bn1", "layer1.0.bn1"),
        ("layer3.0.conv2.conv2", "layer3.0.bn2", "layer3.0.add"),
    ):
        alone = case.quantise([name for name in case.placement.layers if name != layer])
        undone = f"{output}_DequantizeLinear_Output"
        int8 = any(undone in node.output for node in alone.graph.node)
        (found,) = tensors(alone, [undone if int8 else output])
        expected, whole = tensors(case.model, [output, signal])
        assert int8 == (profile == "cpu" and output != signal)
        ratio = ((found - expected) ** 2).sum() / (whole**2).sum()
        assert noise[layer] == pytest.approx(ratio, rel=1e-2)


@pytest.mark.slow
def test_the_spoilt_layer_is_found(spoilt):
    case = Case(spoilt)
    found = case.choose(cosine=0.999, budget=1e6)
    assert found.float_layers == (SPOILT,)
    assert next(iter(found.noise)) == SPOILT
    assert found.cosine >= 0.999
    assert case.choose(cosine=0.0, budget=1e6).cosine < 0.999


def test_nothing_stays_float_where_all_is_well(float_model):
    found = Case(float_model).choose(cosine=0.99, budget=1e6)
    assert found.float_layers == ()
    assert found.noise == {}


@pytest.mark.slow
@pytest.mark.parametrize("cosine", [0.9998, 1.1])
def test_it_is_the_fewest_that_are_enough_or_the_best_there_is(float_model, cosine):
    case = Case(float_model)
    found = case.choose(cosine=cosine, budget=1e6)
    inputs = input_from_clips(CLIPS[:3], SPEC)

    def reached(layers):
        outputs = [
            run_session(open_session(model.SerializeToString()), inputs)
            for model in (case.model, case.quantise(layers))
        ]
        return agreement(*outputs).cosine

    assert reached(found.float_layers) == pytest.approx(found.cosine, abs=1e-7)
    assert found.float_layers == tuple(found.noise)[: len(found.float_layers)]
    if cosine > 1:
        assert len(found.float_layers) == len(case.placement.layers) - 1
    else:
        assert found.cosine >= cosine > reached(found.float_layers[:-1])


@pytest.mark.slow
def test_no_further_set_is_tried_after_the_time(spoilt):
    found = Case(spoilt).choose(cosine=0.999, budget=0)
    assert found.float_layers == ()
    assert next(iter(found.noise)) == SPOILT
    # The clock is asked once for the end, then before each set; the second one is too late.
    clock = iter([0.0, 1.0, 99.0])
    found = Case(spoilt).choose(cosine=1.1, budget=10, clock=lambda: next(clock))
    assert found.float_layers == (SPOILT,)


@pytest.mark.slow
def test_the_spec_names_it(spoilt, tmp_path):
    path = tmp_path / "m.onnx"
    spec = quantize_onnx(spoilt, path, lambda: CLIPS, cosine=0.999)
    assert spec.calibration["float_layers"] == [SPOILT]
    assert spec.calibration["cosine"] >= 0.999
    assert agreement(logits(spoilt, CLIPS), logits(path, CLIPS)).cosine >= 0.999
