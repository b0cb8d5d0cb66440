"""Further outputs: they are what the answer comes from, and leave it as it is."""

import numpy as np
import onnx
import pytest
from models import brightness_model
from networks import SMALL, random_parameters
from quantisation import CLIPS, SPEC, small_artifact
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.errors import BackendError, ModelError, SpecError
from r2p_edge.export.targets.onnx import onnx_from_checkpoint, write_with_features
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.sheet import look_at

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("openvino"), needs("safetensors")]

POSITIONS = (2, 3, 4)
GRAPHS = ("conv3d", "conv2d")


def with_features(path):
    """Write the same artifact with further outputs beside it."""
    out = path.with_name(f"{path.stem}-features.onnx")
    write_with_features(path, open_artifact(path).spec, out)
    return out


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    """A small network in all forms: {(graph, precision, runtime): (without, with)}."""
    found = {}
    for graph in GRAPHS:
        folder = tmp_path_factory.mktemp(graph)
        plain = small_artifact(folder, graph=graph)
        further = with_features(plain)
        for precision in ("fp32", "int8"):
            pair = plain, further
            if precision == "int8":
                pair = folder / "int8.onnx", folder / "int8-features.onnx"
                for source, path in zip((plain, further), pair):
                    quantize_onnx(source, path, lambda: CLIPS, cosine=0.9)
            found[graph, precision, "onnxruntime"] = pair
            found[graph, precision, "openvino"] = tuple(path.with_suffix(".xml") for path in pair)
            for path in pair:
                openvino_from_onnx(path, path.with_suffix(".xml"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_class_activation_is_where_the_answer_comes_from(artifacts, graph, precision, runtime):
    plain, further = artifacts[graph, precision, runtime]
    head = random_parameters(**SMALL)
    weight, bias = head["fc.weight"], head["fc.bias"]
    with Predictor(plain, runtime=runtime) as without, Predictor(further, runtime=runtime) as model:
        found = model.features_of(CLIPS)
        assert found.features.shape == (len(CLIPS), 24)
        assert found.feature_map.shape == (len(CLIPS), 24, 1, 2, 2)
        assert found.class_activation.shape == (len(CLIPS), SMALL["classes"], 1, 2, 2)
        assert {array.dtype for array in vars(found).values()} == {np.dtype(np.float32)}
        largest = np.abs(found.outputs).max()
        # With the weights that were exported: mean over positions, plus bias, is the output.
        exact = np.einsum("kc,nctyx->nktyx", weight.astype(np.float64), found.feature_map)
        np.testing.assert_allclose(
            exact.mean(POSITIONS) + bias, found.outputs, atol=1e-4 * largest, rtol=0
        )
        np.testing.assert_allclose(
            exact + bias[:, None, None, None], found.class_activation, atol=1e-4 * largest, rtol=0
        )
        np.testing.assert_allclose(
            found.class_activation.mean(POSITIONS), found.outputs, atol=1e-4 * largest, rtol=0
        )
        # The answer is the same to the bit, and its contract too.
        scores = model.scores(CLIPS)
        np.testing.assert_array_equal(scores, without.scores(CLIPS))
        assert model.spec.contract_digest() == without.spec.contract_digest()
        assert model.spec.replace(feature_outputs=None).input == without.spec.input


@pytest.mark.slow
def test_maps_of_a_batch_without_3d_convolutions(tmp_path):
    """Beside each other lie the clips of a time position, not the positions of a clip."""
    parts = {}
    for graph, batch in (("conv3d", 1), ("conv2d", 4)):
        path = with_features(small_artifact(tmp_path, batch=batch, graph=graph))
        with Predictor(path) as model:
            parts[graph] = model.features_of(CLIPS)  # 6 clips: the last call is filled up
    for name, expected in vars(parts["conv3d"]).items():
        np.testing.assert_allclose(vars(parts["conv2d"])[name], expected, atol=1e-4)


def test_an_artifact_without_them_says_how_to_have_them(tmp_path):
    says = pytest.raises(ModelError, match=r"gives its answer alone.*with --feature-output")
    with Predictor(small_artifact(tmp_path)) as model, says:
        model.features_of(CLIPS)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_spec_of_another_file_is_refused(tmp_path, runtime):
    path = brightness_model(tmp_path / "model.onnx")
    spec = open_artifact(path).spec
    shapes = {"features": [3], "feature_map": [3, 1, 1, 1]}
    spec = spec.replace(feature_outputs=shapes)
    says = pytest.raises(SpecError, match="no output features, feature_map but logits")
    with Predictor(path, runtime=runtime, spec=spec) as model, says:
        model.features_of(np.zeros((1, 4, 8, 8, 3), np.uint8))


def test_a_closed_model_gives_none(tmp_path):
    path = with_features(small_artifact(tmp_path))
    for runtime in ("onnxruntime", "openvino"):
        model = Predictor(path, runtime=runtime)
        model.close()
        with pytest.raises(BackendError, match="closed"):
            model.features_of(CLIPS)


def test_only_the_answer_is_asked_of_onnx_runtime(tmp_path, monkeypatch):
    import onnxruntime

    path, asked = with_features(small_artifact(tmp_path)), []
    run = onnxruntime.InferenceSession.run

    def spy(self, names, feed, *rest):
        asked.append(list(names))
        return run(self, names, feed, *rest)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", spy)
    with Predictor(path) as model:
        model.scores(CLIPS[:1])
    assert asked == [["logits"]]


def test_openvino_computes_the_answer_alone(tmp_path):
    path = with_features(small_artifact(tmp_path))
    with Predictor(path, runtime="openvino") as model:
        request = model._runtime._request
        assert [each.get_any_name() for each in request.model_outputs] == ["logits"]


def test_outputs_come_after_the_answer_and_are_listed_in_the_spec(tmp_path):
    path = with_features(small_artifact(tmp_path))
    names = [value.name for value in onnx.load(path).graph.output]
    assert names == ["logits", "features", "feature_map", "class_activation"]
    assert open_artifact(path).spec.feature_outputs == {
        "features": [24],
        "feature_map": [24, 1, 2, 2],
        "class_activation": [7, 1, 2, 2],
    }


@pytest.mark.slow
def test_a_head_of_two_layers_has_features_and_no_class_activation(tmp_path):
    rng = np.random.default_rng(1)
    parameters = random_parameters(**SMALL)
    del parameters["fc.weight"], parameters["fc.bias"]
    for name, shape in {"fc.0": (8, 24), "fc.3": (7, 8)}.items():
        parameters[f"{name}.weight"] = rng.standard_normal(shape, np.float32)
        parameters[f"{name}.bias"] = rng.standard_normal(shape[0], np.float32)
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file(parameters, tmp_path / "net.safetensors")
    plain = tmp_path / "net.onnx"
    onnx_from_checkpoint(
        tmp_path / "net.safetensors", SPEC, plain, head="fc.0,fc.3", head_activation="relu"
    )
    with Predictor(with_features(plain)) as model:
        found = model.features_of(CLIPS)
        assert found.class_activation is None
        np.testing.assert_allclose(
            found.features, found.feature_map.mean(POSITIONS), atol=1e-5, rtol=1e-5
        )
        says = "its head is more than one linear layer behind an average pool; leave --cam out"
        with pytest.raises(ModelError, match=says):
            look_at(model, "never read.mp4", cam=True)
