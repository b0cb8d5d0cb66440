"""Heads of artifacts that are replaced: the same network, other classes, in every form."""

import functools

import numpy as np
import onnx
import pytest
from models import brightness_model
from networks import SMALL
from quantisation import CLIPS, small_artifact
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import ModelError, ParityError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.targets.onnx import write_with_features
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.export.taught import network_in
from r2p_edge.spec import OutputSpec
from r2p_edge.teaching.head import NONE_OF_THESE, Reject, TaughtHead

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino"), needs("safetensors")]

FEATURES = 24  # of the small network
LABELS = ("wave", "point", "sit down")


def head_of(count=FEATURES, *, reject=False):
    """Return a head of random weights, whose rule rejects about half of all clips."""
    random = np.random.default_rng(5)
    weight = random.normal(size=(len(LABELS), count)).astype(np.float32)
    bias = random.normal(size=len(LABELS)).astype(np.float32)
    rule = None
    if reject:
        means = random.uniform(size=(len(LABELS), count))
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        rule = Reject(means.astype(np.float32), 0.75, 30.0)
    return TaughtHead(weight, bias, rule)


def planned(path, head):
    labels = LABELS if head.reject is None else (*LABELS, NONE_OF_THESE)
    return open_artifact(path).spec.replace(
        labels=labels, output=OutputSpec("logits", "logits"), parity=None
    )


def taught(path, head, out):
    """Write an artifact with another head, as `teach` does."""
    network = network_in(path, open_artifact(path).spec)
    draft = out.with_name(f"draft-{out.name}")
    spec = network.write_draft(head, planned(path, head), draft)
    spec = spec.replace(parity=network.parity(draft, spec, head))
    network.write(draft, spec, out)
    return out


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A function of (graph, precision, suffix): a small network in that form, all its outputs."""

    @functools.cache
    def folder(graph):
        folder = tmp_path_factory.mktemp(graph)
        plain = small_artifact(folder, graph=graph)
        path = folder / "fp32.onnx"
        write_with_features(plain, open_artifact(plain).spec, path)
        quantize_onnx(path, folder / "int8.onnx", lambda: CLIPS, cosine=0.9)
        for source in (path, folder / "int8.onnx"):
            openvino_from_onnx(source, source.with_suffix(".xml"))
        return folder

    return lambda graph, precision, suffix: folder(graph) / f"{precision}{suffix}"


@pytest.mark.slow
@pytest.mark.parametrize("reject", [False, True], ids=["linear", "reject"])
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("graph", ["conv3d", pytest.param("conv2d", marks=pytest.mark.long)])
def test_a_head_answers_as_numpy_does(artifact, tmp_path, graph, precision, suffix, reject):
    source, head = artifact(graph, precision, suffix), head_of(reject=reject)
    path = taught(source, head, tmp_path / f"taught{suffix}")
    with Predictor(source) as parent, Predictor(path) as model:
        assert (model.spec.precision, model.spec.graph) == (precision, graph)
        assert model.spec.labels[:3] == LABELS
        features = parent.features_of(CLIPS)
        found = model.features_of(CLIPS)
        expected = head.logits(features.features)
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found.outputs, expected, atol=2e-5 * largest, rtol=0)
        # The network is the same, and its further outputs too.
        np.testing.assert_allclose(found.features, features.features, rtol=1e-5, atol=1e-6)
        if reject:
            assert found.class_activation is None
        else:
            means = found.class_activation.mean(axis=(2, 3, 4))
            np.testing.assert_allclose(means, found.outputs, atol=1e-4 * largest, rtol=0)
    assert model.spec.parity["max_rel"] < 1e-5
    # It can be taught again.
    again = taught(path, head_of(), tmp_path / f"again{suffix}")
    own = network_in(again, open_artifact(again).spec).head()
    np.testing.assert_allclose(own.weight, head_of().weight, atol=1e-6)
    np.testing.assert_allclose(own.bias, head_of().bias, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("reject", [False, True], ids=["linear", "reject"])
def test_other_targets_follow_from_the_onnx_file(artifact, tmp_path, reject):
    head = head_of(reject=reject)
    path = taught(artifact("conv3d", "fp32", ".onnx"), head, tmp_path / "mine.onnx")
    for options in ({"targets": ["openvino"]}, {"targets": ["onnx"], "graph": "conv2d"}):
        report = build(path, out=tmp_path / "out", feature_outputs=False, **options)
        (built,) = report.built
        with Predictor(path) as one, Predictor(built.path) as other:
            assert other.spec.labels == one.spec.labels
            assert other.spec.source == one.spec.source
            np.testing.assert_allclose(other.scores(CLIPS), one.scores(CLIPS), atol=1e-4)
    report = build(path, out=tmp_path / "kits", targets=["tensorrt", "ascend310p"])
    assert {built.spec.labels for built in report.built} == {open_artifact(path).spec.labels}
    spec = quantize_onnx(path, tmp_path / "int8.onnx", lambda: CLIPS, cosine=0.9)
    assert spec.labels[:3] == LABELS


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_head_of_another_network_is_refused(tmp_path, suffix):
    source = brightness_model(tmp_path / "b.onnx")
    if suffix == ".xml":
        openvino_from_onnx(source, source.with_suffix(suffix))
    network = network_in(source.with_suffix(suffix), open_artifact(source).spec)
    head = head_of(7)
    with pytest.raises(ModelError, match=r"4 features and the head is of 7; teach it on this"):
        network.write_draft(head, planned(source, head), tmp_path / f"draft{suffix}")


def test_a_copy_that_answers_otherwise_is_refused(tmp_path):
    source = brightness_model(tmp_path / "b.onnx")
    network = network_in(source, open_artifact(source).spec)
    one = head_of(4)
    draft = tmp_path / "draft.onnx"
    spec = network.write_draft(one, planned(source, one), draft)
    other = TaughtHead(one.weight, one.bias + np.float32(500))
    with pytest.raises(ParityError, match="the taught model does not answer as its source"):
        network.parity(draft, spec, other)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_network_without_features_is_refused(tmp_path, suffix):
    """Its last average is followed by no layer."""
    source = brightness_model(tmp_path / "b.onnx")
    model = onnx.load(source)
    model.graph.node[-1].CopyFrom(
        onnx.helper.make_node("Identity", ["levels"], [model.graph.output[0].name])
    )
    onnx.save(model, source)
    if suffix == ".xml":
        openvino_from_onnx(source, source.with_suffix(suffix))
    network = network_in(source.with_suffix(suffix), open_artifact(source).spec)
    says = r"no average pool and layers behind it.*; teach a model that has them, as an R\(2\+1\)D"
    with pytest.raises(ModelError, match=says):
        network.write_features(tmp_path / f"draft{suffix}")


@pytest.mark.parametrize(
    ("name", "target"), [("m.engine", "tensorrt"), ("m.mindir", "mindspore"), ("m.om", "ascend")]
)
def test_files_that_cannot_be_changed_say_what_to_do(tmp_path, name, target):
    spec = open_artifact(brightness_model(tmp_path / "b.onnx")).spec
    says = rf"no new head can be written into .*{name}; teach the ONNX file .*--to {target}"
    with pytest.raises(UsageError, match=says):
        network_in(tmp_path / name, spec)


def test_the_own_head_of_a_small_network(tmp_path):
    source = small_artifact(tmp_path)
    openvino_from_onnx(source, source.with_suffix(".xml"))
    one, other = (
        network_in(path, open_artifact(path).spec).head()
        for path in (source, source.with_suffix(".xml"))
    )
    assert one.weight.shape == (SMALL["classes"], FEATURES)
    np.testing.assert_allclose(other.weight, one.weight, atol=1e-6)
    np.testing.assert_allclose(other.bias, one.bias, atol=1e-6)
