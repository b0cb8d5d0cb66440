"""Fitting of the later stages: their statistics, the head, and the wait that is chosen."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from networks import SMALL, random_parameters, small_network, spec_for
from requirements import needs

from r2p_edge.calibration.causal_material import causal_material
from r2p_edge.calibration.tick_streams import TickStream
from r2p_edge.errors import ModelError

pytestmark = [needs("onnx"), needs("onnxruntime")]

FRAMES, TICKS, STAGES = 8, 90, 2
ENDS = frozenset(range(FRAMES - 1, 70))


@pytest.fixture(scope="module")
def spec():
    return spec_for(SMALL["classes"], frames=FRAMES, graph="conv3d")


@pytest.fixture(scope="module")
def model(spec):
    return small_network(spec)


@pytest.fixture(scope="module")
def frames():
    """Noise whose brightness and size of grain change each 15 frames."""
    rng = np.random.default_rng(5)
    found = []
    for tick in range(TICKS):
        grain = 2 ** (tick // 15 % 3)
        cells = rng.integers(0, 256 - 40 * (tick // 15 % 4), (32 // grain, 32 // grain, 3))
        found.append(np.kron(cells, np.ones((grain, grain, 1))).astype(np.uint8))
    return found


@pytest.fixture(scope="module")
def material(model, spec, frames):
    streams = [TickStream(frames[:40], ENDS), TickStream(iter(frames[40:]), frozenset({10, 29}))]
    done = []
    found = causal_material(model, spec, STAGES, streams, done.append)
    assert done == list(range(1, len(found.ends) + 1))
    return found


@pytest.fixture(scope="module")
def fit(model, spec, material):
    from r2p_edge.calibration.causal_fit import fit_later_stages
    from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph

    return fit_later_stages(ClipGraph(model, spec.output.name), STAGES, material, [0, 2, 4])


def test_the_material_is_what_the_clip_model_answers(model, spec, frames, material):
    from r2p_edge.export.verify.ort_session import open_session

    # No window reaches over the end of the first stream, but none of the second's is left out.
    assert list(material.ends) == [*range(FRAMES - 1, 40), 50, 69]
    session = open_session(model.SerializeToString())
    for end, answer in list(zip(material.ends, material.answers))[::7]:
        clip = np.stack(frames[end - FRAMES + 1 : end + 1])[None]
        assert np.allclose(session.run(None, {spec.input.name: clip})[0][0], answer, rtol=1e-5)


def test_its_statistics_are_those_of_the_clip_model_in_pytorch(spec, frames, material):
    torch = pytest.importorskip("torch")
    from networks import torch_network

    network = torch_network(random_parameters(**SMALL), SMALL["counts"])
    norm, seen = network.layer3[0].bn1, []
    norm.register_forward_hook(lambda *passed: seen.append(passed[2]))
    for end in material.ends:
        clip = np.stack(frames[end - FRAMES + 1 : end + 1]).astype(np.float64)
        pixels = ((clip * spec.scale - spec.mean) / spec.std).transpose(3, 0, 1, 2)[None]
        with torch.no_grad():
            network(torch.from_numpy(pixels.astype(np.float32)))
    values = torch.cat(seen)
    name = "layer3.0.conv1.conv2"  # its norm is folded into it
    found = material.statistics[name]
    assert np.allclose(found.mean, values.mean((0, 2, 3, 4)), atol=1e-4)
    assert np.allclose(found.spread, values.std((0, 2, 3, 4)), rtol=1e-3)
    assert {each.split(".")[0] for each in material.statistics} == {"layer3", "layer4"}


def test_features_can_be_written_to_a_file(model, spec, frames, material):
    file = io.BytesIO()
    streams = [TickStream(frames[:12], frozenset({8}))]
    found = causal_material(model, spec, STAGES, streams, file=file)
    assert len(found.features) == 0
    assert file.getvalue() == material.features[:12].tobytes()


def test_each_later_convolution_gets_the_statistics_that_it_has_in_the_clip(
    model, spec, frames, material, fit
):
    """Measured on the step graph itself, which is not what they were fitted with."""
    from r2p_edge.export.graph.per_frame.forms import semi_causal_form
    from r2p_edge.export.verify.per_frame_run import PerFrameRun, onnx_part

    form = semi_causal_form(model, spec, STAGES, wait=fit.wait, weights=fit.constants)
    step = onnx.ModelProto()
    step.CopyFrom(form.parts["step"])
    names = [node for node in step.graph.node if node.op_type == "Conv"]
    names = [node.output[0] for node in names if node.name.startswith(("layer3", "layer4"))]
    assert len(names) == 10
    for name in names:
        value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        step.graph.output.append(value)
    seen = {name: [] for name in names}
    part = onnx_part(step.SerializeToString())

    def probed(inputs):
        found = dict(part(inputs))
        for name in names:
            seen[name].append(found.pop(name)[0])
        return found

    run = PerFrameRun(form, FRAMES, {"step": probed})
    for frame in frames:
        run.step(frame)
    nodes = {node.output[0]: node.name for node in step.graph.node}
    for name, values in seen.items():
        y = np.stack(values[form.delay :])
        wanted = material.statistics[nodes[name]]
        scale = wanted.spread.max()
        assert np.abs(y.mean((0, 2, 3)) - wanted.mean).max() <= 0.02 * scale, name
        assert np.abs(y.std((0, 2, 3)) - wanted.spread).max() <= 0.02 * scale, name


def test_the_head_agrees_with_the_clip_model_more_often_than_the_old_one(
    model, spec, frames, material, fit
):
    from r2p_edge.export.graph.per_frame.forms import semi_causal_form
    from r2p_edge.export.verify.per_frame_run import PerFrameRun

    assert fit.constants["fc.weight"].shape == (SMALL["classes"], SMALL["widths"][-1])
    assert fit.wait in (0, 2, 4)
    assert fit.agreement[fit.wait] >= max(fit.agreement.values()) - 0.005
    shares = []
    for weights in (None, fit.constants):
        run, answers = PerFrameRun(semi_causal_form(model, spec, STAGES, weights=weights), 8), []
        for frame in frames:
            answers.append(run.step(frame)[0].argmax())
        wanted = material.answers.argmax(axis=1)
        shares.append(np.mean(np.array(answers)[material.ends + fit.wait] == wanted))
    assert shares[1] > shares[0]
    assert shares[1] > 0.8


def test_a_graph_without_a_last_layer_is_refused(model, spec, material):
    from r2p_edge.calibration.causal_fit import fit_later_stages
    from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph

    odd = onnx.ModelProto()
    odd.CopyFrom(model)
    last = odd.graph.node[-1]
    assert last.op_type == "Gemm"
    last.output[0] = "raw"
    odd.graph.node.append(onnx.helper.make_node("Softmax", ["raw"], [spec.output.name]))
    with pytest.raises(ModelError, match=r"does not end in a mean .* linear layers"):
        fit_later_stages(ClipGraph(odd, spec.output.name), STAGES, material, [0])
