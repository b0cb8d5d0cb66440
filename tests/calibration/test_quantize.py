"""A float artifact becomes an int8 one that answers alike, or nothing at all."""

import errno
import json

import numpy as np
import onnx
import pytest
from inception_networks import CLASSES, narrow
from networks import spec_for
from onnx import helper, numpy_helper
from quantisation import CLIPS, SPEC, logits, named
from requirements import needs, require

from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import embedded_spec, open_artifact
from r2p_edge.calibration import motion
from r2p_edge.calibration.quantize import profile_of_this_cpu, quantize_onnx
from r2p_edge.errors import ModelError, OutputError, R2PError, UsageError, VideoError
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.export.verify.synthetic_clips import verification_clips

pytestmark = [
    needs("onnx"),
    needs("onnxruntime"),
    needs("safetensors"),
    needs("cv2"),
]

TESTED, FEW = 240, 48


def clip(split, index):
    """Draw a scene, uint8 (T, H, W, 3), as the bundled model's preprocessing leaves it."""
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


@pytest.mark.slow
@needs("openvino")
def test_an_i3d_answers_alike(tmp_path):
    from safetensors.numpy import save_file

    weights, model, out = (tmp_path / name for name in ("w.safetensors", "m.onnx", "int8.onnx"))
    save_file(narrow("piergiaj-i3d"), weights)
    spec = spec_for(CLASSES, frames=9, size=224)
    onnx_from_checkpoint(weights, spec, model)
    clips = verification_clips(spec, 4, seed=5)
    quantize_onnx(model, out, lambda: clips[:2])
    expected = logits(model, clips[2:])
    for runtime in ("onnxruntime", "openvino"):
        found = logits(out, clips[2:], runtime)
        assert agreement(expected, found).cosine >= 0.999
        assert np.abs(found - expected).max() > 0  # it is another file


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_motion_model_sees_as_well_as_before(int8_model, unseen, float_answers, runtime):
    require(runtime)
    check_answers(logits(int8_model, unseen, runtime), float_answers)


@pytest.mark.long
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


@pytest.mark.slow
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
        "profile": profile_of_this_cpu(),
        "clips": len(CLIPS),
        "float_layers": ["conv1"],
    }
    assert spec.parity["reference"] == "onnx"
    assert "tolerance" not in spec.parity
    assert spec.parity["onnx"] == embedded_spec(float_model).parity
    assert spec.source == embedded_spec(float_model).source


def test_an_accuracy_of_the_source_is_not_kept(float_model, tmp_path, out):
    model = onnx.load(float_model)
    embed_spec(model, embedded_spec(float_model).replace(accuracy={"top1": 0.5}))
    onnx.save(model, tmp_path / "measured.onnx")
    spec = quantize_onnx(tmp_path / "measured.onnx", out / "m.onnx", lambda: CLIPS)
    assert spec.accuracy is None


@pytest.mark.slow
def test_the_same_clips_give_the_same_bytes(float_model, out):
    for name in ("one", "two"):
        quantize_onnx(float_model, out / f"{name}.onnx", lambda: CLIPS, method="entropy")
    assert (out / "one.onnx").read_bytes() == (out / "two.onnx").read_bytes()
    quantize_onnx(float_model, out / "two.onnx", lambda: CLIPS[:2], method="entropy")
    assert (out / "one.onnx").read_bytes() != (out / "two.onnx").read_bytes()


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


@pytest.mark.slow
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


def test_a_folder_that_does_not_exist_is_reported_before_the_work(float_model, out):
    with pytest.raises(R2PError, match="there is no folder"):
        quantize_onnx(float_model, out / "more" / "m.onnx", stopped(AssertionError("was read")))
