"""A float artifact becomes an int8 one that answers alike, or nothing at all."""

import errno
import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from quantisation import CLIPS, SPEC, logits, named, small_artifact
from requirements import needs, require

from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import embedded_spec, open_artifact
from r2p_edge.calibration import motion
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.qdq import PROFILES
from r2p_edge.calibration.qdq_rules import broken_rules
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import ModelError, OutputError, R2PError, UsageError, VideoError
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.model import load_onnx

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors"), needs("cv2")]

TESTED, FEW = 240, 48


@pytest.fixture(scope="module")
def float_model(tmp_path_factory):
    return small_artifact(tmp_path_factory.mktemp("float"))


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def clip(split, index):
    """uint8 (T, H, W, 3): what the bundled model's preprocessing leaves of a scene."""
    middle = motion.DURATION / 2
    times = np.linspace(middle - motion.SPAN / 2, middle + motion.SPAN / 2, motion.FRAMES)
    size = motion.SIZE
    unit = size * 128 / motion.SIZE
    scene = motion.scene(split, index)
    return np.stack([scene.draw(t, height=size, width=size, unit=unit) for t in times])


@pytest.fixture(scope="module")
def seen():
    return [clip("calibration", number) for number in range(24)]


@pytest.fixture(scope="module")
def unseen():
    return [clip("test", number) for number in range(TESTED)]


@pytest.fixture(scope="module")
def float_answers(motion_model, unseen):
    return logits(motion_model, unseen)


@pytest.fixture(scope="module")
def int8_model(motion_model, seen, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "m.onnx"
    quantize_onnx(motion_model, path, lambda: seen)
    return path


def check_answers(answers, float_answers):
    labels = np.arange(len(answers)) % len(motion.CLASSES)
    top1 = [np.mean(each.argmax(axis=1) == labels) for each in (answers, float_answers)]
    assert top1[1] >= 0.95
    assert top1[0] >= top1[1] - 0.01
    assert np.mean(answers.argmax(axis=1) == float_answers.argmax(axis=1)) >= 0.98


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_motion_model_sees_as_well_as_before(int8_model, unseen, float_answers, runtime):
    require(runtime)
    check_answers(logits(int8_model, unseen, runtime), float_answers)


@pytest.mark.parametrize(
    "options",
    [
        {"method": "percentile"},
        {"method": "entropy"},
        {"profile": "cpu-avx2"},
        {"profile": "arm"},
        {"profile": "tensorrt"},
    ],
    ids=lambda options: str(*options.values()),
)
def test_so_does_every_method_and_rendering(
    motion_model, seen, unseen, float_answers, out, options
):
    quantize_onnx(motion_model, out / "m.onnx", lambda: seen, **options)
    check_answers(logits(out / "m.onnx", unseen[:FEW]), float_answers[:FEW])


def test_the_typed_form_of_the_tensorrt_rendering_answers_alike(float_model, out):
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, profile="tensorrt")
    typed = half_from_float(load_onnx(out / "m.onnx"))
    assert broken_rules(typed) == []
    onnx.save(typed, out / "typed.onnx")
    answers = [logits(out / name, CLIPS) for name in ("m.onnx", "typed.onnx")]
    assert agreement(*answers).cosine >= 0.99


@pytest.mark.parametrize("both", [True, False])
def test_sums_within_a_convolution_are_no_sums_of_branches(float_model, tmp_path, both):
    """Of the form without 3-D convolutions, whose temporal convolutions are sums."""
    apart = named(small_artifact(tmp_path, graph="conv2d"))
    whole = named(float_model)
    assert len([node for node in apart.graph.node if node.op_type == "Add"]) == 20
    one, other = (place(each, stem=True, both_summands=both) for each in (apart, whole))
    assert one.summands == other.summands
    assert len(one.summands) == (8 if both else 4)


@pytest.mark.parametrize("graph", ["conv3d", "conv2d"])
@pytest.mark.parametrize("profile", PROFILES)
def test_every_form_of_the_graph_can_be_quantised(tmp_path, out, graph, profile):
    source = small_artifact(tmp_path, graph=graph)
    spec = quantize_onnx(source, out / "m.onnx", lambda: CLIPS, profile=profile)
    assert spec.graph == graph
    assert agreement(logits(source, CLIPS), logits(out / "m.onnx", CLIPS)).cosine >= 0.99


def stored(model, layer):
    (tensor,) = (t for t in model.graph.initializer if t.name == f"{layer}.weight_quantized")
    return numpy_helper.to_array(tensor)


def test_weights_have_eight_bits_or_seven(float_model, out):
    largest = {}
    for profile in ("cpu", "cpu-avx2"):
        quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, profile=profile)
        weight = stored(onnx.load(out / "m.onnx"), "layer1.0.conv1.conv1")
        assert weight.dtype == np.int8
        largest[profile] = np.abs(weight.astype(int)).reshape(len(weight), -1).max(axis=1)
    assert (largest["cpu"] == 127).all()
    assert (largest["cpu-avx2"] == 64).all()


def test_all_convolutions_and_whole_sums_are_int8_on_cpus(float_model, out):
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS)
    graph = onnx.load(out / "m.onnx").graph
    undone = {n.output[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 21
    assert all(undone.issuperset(node.input) for node in convolutions)
    sums = [node for node in graph.node if node.op_type == "Add" and node.name != "input.add"]
    assert len(sums) == 4
    assert all(undone.issuperset(node.input) for node in sums)
    onnx.checker.check_model(onnx.load(out / "m.onnx"), full_check=True)


def test_the_spec_says_how_it_was_calibrated(float_model, out):
    path = out / "m.onnx"
    ticks = []
    spec = quantize_onnx(
        float_model,
        path,
        lambda: CLIPS,
        method="percentile",
        keep_float=["conv1"],
        record=lambda: {"manifest_sha256": "abc"},
        progress=lambda: ticks.append(1),
    )
    assert spec == embedded_spec(path) == open_artifact(path).spec
    assert json.loads((out / "m.onnx.json").read_text())["spec"] == spec.to_dict()
    assert len(ticks) == 2 * len(CLIPS)
    assert spec.precision == "int8"
    found = dict(spec.calibration)
    assert len(found.pop("ranges_sha256")) == 64
    assert found.pop("cosine") >= 0.99
    assert found == {
        "manifest_sha256": "abc",
        "method": "percentile",
        "profile": "cpu",
        "clips": len(CLIPS),
        "float_layers": ["conv1"],
    }
    assert spec.parity["reference"] == "onnx"
    assert "tolerance" not in spec.parity
    assert spec.parity["onnx"] == embedded_spec(float_model).parity
    assert spec.source == embedded_spec(float_model).source


def test_the_same_clips_give_the_same_bytes(float_model, out):
    for name in ("one", "two"):
        quantize_onnx(float_model, out / f"{name}.onnx", lambda: CLIPS, method="entropy")
    assert (out / "one.onnx").read_bytes() == (out / "two.onnx").read_bytes()
    quantize_onnx(float_model, out / "two.onnx", lambda: CLIPS[:2], method="entropy")
    assert (out / "one.onnx").read_bytes() != (out / "two.onnx").read_bytes()


def test_a_float_layer_reads_and_makes_floats(float_model, out):
    """Its input is int8 for the other layer that reads it, and its output would be for the sum."""
    keep = ["layer2.0.conv1.conv1", "layer2.0.conv2.conv2"]
    quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, keep_float=keep)
    graph = onnx.load(out / "m.onnx").graph
    nodes = {node.name: node for node in graph.node}
    assert nodes[keep[0]].input[:2] == ["layer1.0", f"{keep[0]}.weight"]
    assert nodes["layer2.0.downsample.0"].input[0] != "layer1.0"
    assert "layer2.0.bn2" in nodes["layer2.0.add"].input
    assert "layer2.0.downsample.1" not in nodes["layer2.0.add"].input


@pytest.mark.parametrize("profile", PROFILES)
def test_channels_without_weights_keep_their_bias(tmp_path, out, profile):
    model = onnx.load(small_artifact(tmp_path))
    name = "layer1.0.conv1.conv2.weight"
    (tensor,) = (each for each in model.graph.initializer if each.name == name)
    weight = numpy_helper.to_array(tensor).copy()
    weight[[0, 3]] = 0
    tensor.CopyFrom(numpy_helper.from_array(weight, name))
    source = tmp_path / "dead.onnx"  # without the sidecar of the other
    onnx.save(model, source)
    quantize_onnx(source, out / "m.onnx", lambda: CLIPS, profile=profile)
    made = {t.name: numpy_helper.to_array(t) for t in onnx.load(out / "m.onnx").graph.initializer}
    assert (made[f"{name}_scale"] > 0).all()
    assert agreement(logits(source, CLIPS), logits(out / "m.onnx", CLIPS)).cosine >= 0.99


def unfolded(path, folder):
    model = onnx.load(path)
    nodes = list(model.graph.node)
    place = next(i for i, node in enumerate(nodes) if node.op_type == "Relu")
    (tensor,) = nodes[place].input
    width = next(
        len(numpy_helper.to_array(t)) for t in model.graph.initializer if t.name == "conv1.bias"
    )
    for field in ("scale", "shift", "mean", "var"):
        model.graph.initializer.append(numpy_helper.from_array(np.ones(width, np.float32), field))
    norm = helper.make_node(
        "BatchNormalization", [tensor, "scale", "shift", "mean", "var"], ["normed"], "stem.bn"
    )
    nodes[place].input[0] = "normed"
    model.graph.node.insert(place, norm)
    onnx.save(model, folder / "unfolded.onnx")
    return folder / "unfolded.onnx"


def quantised(path, folder):
    quantize_onnx(path, folder / "int8.onnx", lambda: CLIPS)
    return folder / "int8.onnx"


def quantised_by_others(path, folder):
    model = onnx.load(quantised(path, folder))
    embed_spec(model, embedded_spec(path))
    onnx.save(model, folder / "others.onnx")
    return folder / "others.onnx"


def half(path, folder):
    model = onnx.load(path)
    embed_spec(model, SPEC.replace(precision="fp16"))
    onnx.save(model, folder / "half.onnx")
    return folder / "half.onnx"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (unfolded, r"1 batch norms .*\(the first is stem.bn\)"),
        (quantised, "quantised already"),
        (quantised_by_others, "quantised already"),
        (half, "the model is fp16"),
    ],
)
def test_what_cannot_be_quantised_is_refused(float_model, tmp_path, out, damage, message):
    with pytest.raises(ModelError, match=message):
        quantize_onnx(damage(float_model, tmp_path), out / "m.onnx", lambda: CLIPS)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "mse"}, "choose one of minmax, percentile, entropy"),
        ({"profile": "gpu"}, "choose one of cpu, cpu-avx2, arm, tensorrt"),
        ({"keep_float": ["conv9"]}, "no layer is named conv9; choose from conv1, conv2, layer1"),
    ],
)
def test_unknown_names_are_refused(float_model, out, options, message):
    with pytest.raises(UsageError, match=message):
        quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, **options)


def test_a_model_without_a_layer_left_is_refused(float_model, out):
    layers = [node.name for node in named(float_model).graph.node if node.op_type == "Conv"]
    with pytest.raises(ModelError, match="no convolution that could become int8"):
        quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS, keep_float=layers)


def stopped(error):
    def clips():
        yield from CLIPS[:3]
        raise error

    return clips


@pytest.mark.parametrize("error", [KeyboardInterrupt(), VideoError("damaged")])
def test_nothing_is_left_of_an_interrupted_calibration(float_model, out, error):
    with pytest.raises(type(error)):
        quantize_onnx(float_model, out / "m.onnx", stopped(error))
    assert list(out.iterdir()) == []


def test_nothing_is_left_on_a_full_disk(float_model, out, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        quantize_onnx(float_model, out / "m.onnx", lambda: CLIPS)
    assert list(out.iterdir()) == []


def test_a_folder_that_does_not_exist_is_told_before_the_work(float_model, out):
    with pytest.raises(R2PError, match="there is no folder"):
        quantize_onnx(float_model, out / "more" / "m.onnx", stopped(AssertionError("was read")))
