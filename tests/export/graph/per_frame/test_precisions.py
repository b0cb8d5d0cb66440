"""Graphs with state in int8 and float16, of other families, and of models that can have none."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import quantisation
from networks import SMALL, network_of, random_parameters, small_network, spec_for

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.qdq import PROFILES
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.export.checkpoints.layouts import Pool
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.per_frame.clip_graph import ClipGraph
from r2p_edge.export.graph.per_frame.forms import per_frame_form, semi_causal_form
from r2p_edge.export.graph.per_frame.weights import ConvConstants
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters
from r2p_edge.export.verify import ort_session
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.per_frame_run import PerFrameRun
from r2p_edge.runtimes.onnxruntime import session_options
from r2p_edge.spec import ClipSpec, InputSpec

FRAMES = quantisation.FRAMES


def clip_answer(model, frames):
    (found,) = open_session(model.SerializeToString()).run(None, {"frames": frames[None]})
    return found[0]


def first_answer(form, frames):
    run = PerFrameRun(form, len(frames))
    for frame in frames:
        run.step(frame)
    return run.answer("flush")


def without_fusion(threads):
    options = session_options(threads)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """The small network in each profile: model and contract by name."""
    folder = tmp_path_factory.mktemp("int8")
    source, found = quantisation.small_artifact(folder), {}

    def make(profile):
        if profile not in found:
            path = folder / f"{profile}.onnx"
            quantize_onnx(source, path, lambda: quantisation.CLIPS, profile=profile)
            found[profile] = onnx.load(path), open_artifact(path).spec
        return found[profile]

    return make


@pytest.fixture(scope="module")
def long_stream():
    rng = np.random.default_rng(1)
    size = quantisation.SIZE
    return rng.integers(0, 256, (70, size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("stages", [0, 1, 2])
def test_int8_states_are_the_clips_own_bytes(quantised, long_stream, stages):
    """Sums of whole numbers have no order: the first window's answer is the clip's, bit by bit."""
    model, spec = quantised("cpu-avx2")
    form = per_frame_form(model, spec, stages)
    assert {ring.dtype for ring in form.rings} == {"uint8"}
    assert all(ring.scale > 0 for ring in form.rings)
    for start in (0, 20, 40):
        frames = long_stream[start : start + FRAMES]
        assert np.array_equal(first_answer(form, frames), clip_answer(model, frames))


def test_an_int8_stream_forgets_where_it_began(quantised, long_stream):
    form = per_frame_form(*quantised("cpu-avx2"), 2)
    one, other = PerFrameRun(form, FRAMES), PerFrameRun(form, FRAMES)
    for frame in long_stream[:25]:
        one.step(frame)
    for count, frame in enumerate(long_stream[25:], 1):
        one.step(frame)
        other.step(frame)
        if count > 2 * form.delay + 1 + max(ring.slots for ring in form.rings):
            for ring in form.rings:
                for age in range(ring.slots):
                    assert np.array_equal(one.slice(ring.name, age), other.slice(ring.name, age))


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_of_int8_has_the_form(quantised, long_stream, profile, monkeypatch):
    """Node by node, as some kernels for x86 saturate where activations are int8, in their order."""
    monkeypatch.setattr(ort_session, "session_options", without_fusion)
    model, spec = quantised(profile)
    form = per_frame_form(model, spec, 2)
    for part in form.parts.values():
        onnx.checker.check_model(part, full_check=True)
    frames = long_stream[:FRAMES]
    assert np.array_equal(first_answer(form, frames), clip_answer(model, frames))


def test_float16_states_are_float16(model, spec, stream):
    half, spec = half_from_float(model), spec.replace(precision="fp16")
    form = per_frame_form(half, spec, 2)
    assert {ring.dtype for ring in form.rings} == {"float16"}
    frames = stream[:16]
    wanted = clip_answer(half, frames)
    assert np.abs(first_answer(form, frames) - wanted).max() <= 5e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("pool", [Pool((1, 3, 3), (1, 2, 2)), Pool((3, 3, 3), (2, 2, 2))])
@pytest.mark.parametrize("stages", [0, 2])
def test_a_stem_that_pools(stream, pool, stages):
    parameters = random_parameters(**SMALL)
    network = network_of(parameters)
    network = dataclasses.replace(network, stem=(*network.stem, pool))
    spec = spec_for(7, frames=16, size=64, graph="conv3d")
    model = onnx_from_parameters(parameters, network, spec)
    form = per_frame_form(model, spec, stages)
    frames = np.tile(stream[:16], (1, 2, 2, 1))
    wanted = clip_answer(model, frames)
    assert np.abs(first_answer(form, frames) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert form.step == pool.stride[0] * (1, 2)[stages == 2]


@pytest.mark.slow
def test_the_bundled_model(motion_model, tmp_path):
    from r2p_edge.calibration import motion

    artifact = open_artifact(motion_model)
    model = onnx.load(motion_model)
    form = per_frame_form(model, artifact.spec, 2)
    assert (form.delay, form.wait, form.missing) == (12, 11, (2, 3, 4, 5, 6, 7))
    scene, clip = motion.scene("test", 5), artifact.spec.clip
    size = artifact.spec.crop.height
    frames = np.stack(
        [scene.draw(tick * clip.tick, height=size, width=size) for tick in range(clip.frames)]
    )
    wanted = clip_answer(model, frames)
    found = first_answer(form, frames)
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert motion.CLASSES[found.argmax()] == scene.label


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": InputSpec(dtype="float32", layout="NCTHW")}, "is float32 NCTHW.*--input uint8"),
        ({"clip": ClipSpec(16, 2, 25.0, "index", "lexicographic")}, "--sampling time"),
        ({"clip": ClipSpec(16, 2, 25.0, offsets="linspace")}, "uneven distances"),
        ({"graph": "conv2d"}, "--graph conv3d"),
    ],
)
def test_clips_that_are_no_stream_are_refused(model, spec, changes, message):
    for make in (per_frame_form, semi_causal_form):
        with pytest.raises(SpecError, match=message):
            make(model, spec.replace(**changes), 1)


@pytest.mark.parametrize("stages", [-1, 5])
def test_stages_that_are_not_there(model, spec, stages):
    with pytest.raises(UsageError, match=f"stages is {stages}; the stem is 0"):
        per_frame_form(model, spec, stages)


@pytest.mark.parametrize("batch", [2, "dynamic"])
def test_several_clips_per_call_are_refused(spec, batch):
    with pytest.raises(ModelError, match="--batch 1"):
        per_frame_form(small_network(spec, batch=batch), spec, 1)


def test_a_graph_with_other_names_is_refused(model, spec):
    named = onnx.ModelProto()
    named.CopyFrom(model)
    for node in named.graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                ends[i] = name.replace("layer3.0", "stage3")
    with pytest.raises(ModelError, match=r"no blocks named layer1\.0.*from the checkpoint"):
        per_frame_form(named, spec, 1)
    with pytest.raises(ModelError, match=r"--batch 1|no blocks named|per-frame form"):
        per_frame_form(conv2d_from_conv3d(model), spec, 1)


def test_an_operator_that_sees_all_of_time_is_refused(model, spec):
    odd = onnx.ModelProto()
    odd.CopyFrom(model)
    node = next(node for node in odd.graph.node if node.output[0] == "layer1.0")
    node.op_type = "Softmax"
    with pytest.raises(ModelError, match=r"has Softmax \(layer1.0\) before the features"):
        per_frame_form(odd, spec, 1)
    assert per_frame_form(odd, spec, 0).parts


@pytest.mark.parametrize(
    ("attribute", "value"), [("pads", [0, 0, 0, 0, 0, 0]), ("auto_pad", "SAME_UPPER"), ("group", 2)]
)
def test_a_convolution_that_is_not_padded_by_half_is_refused(model, spec, attribute, value):
    odd = onnx.ModelProto()
    odd.CopyFrom(model)
    node = next(node for node in odd.graph.node if node.name == "layer1.0.conv1.conv2")
    kept = [each for each in node.attribute if each.name != attribute]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(attribute, value)])
    with pytest.raises(ModelError, match=r"layer1.0.conv1.conv2 has a window .*stay with clips"):
        per_frame_form(odd, spec, 1)


def test_weights_of_another_model_are_refused(model, spec):
    with pytest.raises(ModelError, match="no constant layer9"):
        semi_causal_form(model, spec, 1, weights={"layer9.weight": np.zeros(1)})
    with pytest.raises(ModelError, match=r"fc.weight have shape \(2,\)"):
        semi_causal_form(model, spec, 1, weights={"fc.weight": np.zeros(2)})


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_an_int8_semi_causal_form_is_near_the_float_one(
    quantised, long_stream, profile, monkeypatch
):
    """As near as with all stages as they were trained, whose weights keep their bytes."""
    monkeypatch.setattr(ort_session, "session_options", without_fusion)
    model, spec = quantised(profile)
    cosines = {}
    for stages in (1, 4):
        runs = [
            PerFrameRun(semi_causal_form(each, spec, stages), FRAMES)
            for each in (model, small_network(quantisation.SPEC))
        ]
        answers = np.array([[run.step(frame)[0] for run in runs] for frame in long_stream[:24]])
        lengths = np.linalg.norm(answers, axis=2).prod(axis=1)
        cosines[stages] = np.median(answers.prod(axis=1).sum(axis=1) / lengths)
    assert cosines[1] >= cosines[4] - 0.06 >= 0.9


def test_the_weights_that_were_there_are_the_same_in_int8(quantised, long_stream):
    """Quantised again, a weight that was quantised has the same bytes and scales."""
    model, spec = quantised("cpu-avx2")
    graph = ClipGraph(model, spec.output.name)
    weights = {}
    for node in graph.nodes:
        if node.op_type == "Conv":
            constants = ConvConstants(graph, node)
            weights |= {constants.weight_name: constants.weight()}
            weights |= {constants.bias_name: constants.bias()}
    assert len(weights) == 2 * 21
    one, other = (
        PerFrameRun(semi_causal_form(model, spec, 4, weights=each), FRAMES)
        for each in (None, weights)
    )
    for frame in long_stream[:20]:
        assert np.array_equal(one.step(frame), other.step(frame))


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_weights_in_place_of_quantised_ones_are_quantised_alike(quantised, profile):
    model, spec = quantised(profile)
    graph = ClipGraph(model, spec.output.name)
    node = next(node for node in graph.nodes if node.name == "layer3.0.conv1.conv2")
    constants = ConvConstants(graph, node)
    assert constants.weight_name == "layer3.0.conv1.conv2.weight"
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.3, constants.weight().shape).astype(np.float32)
    weight[2] = 0  # a channel that a training has given up
    bias = rng.normal(0, 1, len(weight)).astype(np.float32)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for name, value in constants.replaced(weight, bias).items():
        tensor = next(each for each in other.graph.initializer if each.name == name)
        assert tensor.data_type == onnx.numpy_helper.from_array(value).data_type
        assert tuple(tensor.dims) == value.shape
        tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
    changed = ConvConstants(ClipGraph(other, spec.output.name), node)
    largest = np.abs(weight).reshape(len(weight), -1).max(1)
    error = np.abs(changed.weight() - weight).reshape(len(weight), -1).max(1)
    assert (error <= 0.5001 * largest / (64 if PROFILES[profile].seven_bits else 127)).all()
    assert np.abs(changed.bias() - bias).max() <= 0.01


def test_convolutions_of_other_sizes_have_no_semi_causal_form(model, spec):
    odd = onnx.ModelProto()
    odd.CopyFrom(model)
    name = "layer3.0.conv1.conv2"
    node = next(node for node in odd.graph.node if node.name == name)
    weight = next(each for each in odd.graph.initializer if each.name == f"{name}.weight")
    wide = np.zeros((*weight.dims[:2], 5, 1, 1), np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(wide, weight.name))
    for attribute in node.attribute:
        if attribute.name == "kernel_shape":
            attribute.ints[:] = [5, 1, 1]
        if attribute.name == "pads":
            attribute.ints[:] = [2, 0, 0, 2, 0, 0]
    assert per_frame_form(odd, spec, 3).delay > per_frame_form(model, spec, 3).delay
    with pytest.raises(ModelError, match=r"conv2 sees 5 positions .* convolutions of 3"):
        semi_causal_form(odd, spec, 1)
