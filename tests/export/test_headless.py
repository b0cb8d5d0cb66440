"""Networks without a classifier: features as the answer, and heads from files."""

import json

import numpy as np
import pytest
from graded import graded_folder
from networks import SMALL, headless_parameters, random_parameters
from requirements import needs

from r2p_edge import Predictor, teach
from r2p_edge.errors import CheckpointError, ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.presets import preset
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import ModelSpec, OutputSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SMALLER = {"frames": 4, "size": 32, "preset": "ucf101-utkarsh"}
FEATURES = 12


def saved(path, arrays):
    from safetensors.numpy import save_file

    save_file(arrays, path)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("net") / "net.safetensors", headless_parameters())


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory):
    """The artifact that answers with features."""
    out = tmp_path_factory.mktemp("features")
    (built,) = build(checkpoint, out=out, targets=["onnx"], **SMALLER).built
    return built.path


@pytest.fixture(scope="module")
def further(checkpoint, tmp_path_factory):
    """The same with further outputs."""
    out = tmp_path_factory.mktemp("further")
    (built,) = build(checkpoint, out=out, targets=["onnx"], feature_outputs=True, **SMALLER).built
    return built.path


def test_the_contract_counts_features_and_names_none(model):
    with Predictor(model) as predictor:
        spec = predictor.spec
        clips = np.stack(list(verification_clips(spec, 2)))
        found = predictor.features_of(clips)
        np.testing.assert_array_equal(found.features, predictor.outputs_of(clips))
    assert (spec.labels, spec.output.kind, spec.outputs) == ((), "features", FEATURES)
    assert found.outputs.shape == found.features.shape == (2, FEATURES)
    assert found.feature_map is None
    assert found.class_activation is None
    assert np.abs(found.features).max() > 0


def test_a_contract_of_features_is_read_as_it_is_written(model):
    with Predictor(model) as predictor:
        spec = predictor.spec
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.to_dict()["output"]["features"] == FEATURES
    # Contracts of classes stay as they were written before.
    assert "features" not in preset("motion").spec(name="motion").to_dict()["output"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": ["a"]}, r"there are labels .1. and output\.kind is features"),
        ({"output": {"kind": "features"}}, r"output\.features is None; it must be a whole number"),
        ({"output": {"kind": "features", "features": 0}}, r"output\.features is 0"),
        ({"output": {"kind": "logits", "features": 3}}, r"output\.features is 3 but .* logits"),
        ({"output": {"kind": "logits"}}, "labels is empty"),
    ],
)
def test_contracts_that_contradict_themselves(model, changes, sentence):
    with Predictor(model) as predictor:
        record = predictor.spec.to_dict()
    with pytest.raises(SpecError, match=sentence):
        ModelSpec.from_dict({**record, **changes})


def test_the_feature_map_has_them_as_its_mean(further):
    with Predictor(further) as predictor:
        found = predictor.features_of(verification_clips(predictor.spec, 1))
    np.testing.assert_allclose(found.features, found.feature_map.mean((2, 3, 4)), rtol=1e-4)
    np.testing.assert_allclose(found.features, found.outputs, rtol=1e-5)
    assert found.class_activation is None


@pytest.mark.parametrize(
    "verb",
    [
        ["predict", "MODEL", "absent.mp4"],
        ["predict", "MODEL", "absent", "--out", "answers.jsonl"],
        ["eval", "MODEL", "--videos", "VIDEOS"],
        ["stream", "MODEL", "absent.mp4"],
        ["watch", "MODEL", "door=absent.mp4", "--answers"],
        ["timeline", "MODEL", "absent.mp4"],
        ["sheet", "MODEL", "absent.mp4", "--out", "sheet.html"],
        ["benchmark", "MODEL"],
        ["serve", "MODEL", "--listen", "127.0.0.1:0"],
        ["serve-export", "MODEL", "--to", "triton", "--out", "repository"],
    ],
    ids=lambda verb: " ".join(verb[:1] + verb[3:4]),
)
def test_verbs_that_name_classes_say_that_there_are_none(model, verb, fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graded_folder(tmp_path / "videos", {"rising": 1, "falling": 1})
    words = {"MODEL": model, "VIDEOS": tmp_path / "videos"}
    fails(4, f"answers with {FEATURES} features and names no classes", *[
        words.get(word, word) for word in verb
    ])  # fmt: skip


def test_int8_says_so_too(model, fails, tmp_path):
    graded_folder(tmp_path / "videos", {"rising": 1, "falling": 1})
    arguments = ["--videos", tmp_path / "videos", "--out", tmp_path / "int8.onnx"]
    fails(2, "int8 is judged by the classes", "calibrate", model, *arguments)


def test_info_counts_them(model, capsys):
    from r2p_edge.cli import main

    assert main(["info", str(model)]) == 0
    assert f" features  {FEATURES}\n" in capsys.readouterr().out


def test_it_is_taught_and_exported_again(model, tmp_path):
    graded_folder(tmp_path / "videos", {"rising": 4, "falling": 4})
    found = teach(model, tmp_path / "taught.onnx", tmp_path / "videos")
    assert found.spec.output == OutputSpec("logits", "logits")
    assert found.spec.labels == ("falling", "rising")
    with Predictor(found.path) as predictor:
        answer = predictor.predict(next((tmp_path / "videos" / "rising").iterdir()))
    assert answer.label in found.spec.labels
    with pytest.raises(UsageError, match="answers features, beside which"):
        teach(model, tmp_path / "both.onnx", tmp_path / "videos", keep_old=True)


@needs("openvino")
def test_openvino_has_the_same_features(model, tmp_path):
    (built,) = build(model, out=tmp_path, targets=["openvino"]).built
    assert (built.spec.output.kind, built.spec.outputs) == ("features", FEATURES)
    with Predictor(built.path) as one, Predictor(model) as other:
        clips = verification_clips(one.spec, 1)
        expected = other.features_of(clips).features
        np.testing.assert_allclose(one.features_of(clips).features, expected, rtol=1e-4, atol=1e-4)
    graded_folder(tmp_path / "videos", {"rising": 3, "falling": 3})
    found = teach(built.path, tmp_path / "taught.xml", tmp_path / "videos")
    assert found.spec.labels == ("falling", "rising")


def test_the_conv2d_form_has_the_same_features(checkpoint, model, tmp_path):
    (built,) = build(checkpoint, out=tmp_path, targets=["onnx"], graph="conv2d", **SMALLER).built
    with Predictor(built.path) as one, Predictor(model) as other:
        clips = verification_clips(one.spec, 1)
        expected = other.features_of(clips).features
        np.testing.assert_allclose(one.features_of(clips).features, expected, rtol=1e-5, atol=1e-5)


def head(seed=3, classes=3, features=FEATURES):
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.normal(0, 1, (classes, features)).astype(np.float32),
        "bias": rng.normal(0, 1, classes).astype(np.float32),
    }


def as_torch(arrays):
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def written_head(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".safetensors":
        saved(path, arrays)
    else:
        import torch

        torch.save(as_torch(arrays), path)
    return path


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    path.write_text("jump\nrun\nwalk\n")
    return path


@pytest.mark.parametrize(
    "suffix", [".npz", ".safetensors", pytest.param(".pth", marks=needs("torch"))]
)
@pytest.mark.parametrize("prefix", ["", "fc."])
def test_a_head_from_a_file_scores_the_features(
    checkpoint, model, labels, suffix, prefix, tmp_path
):
    layer = head()
    arrays = {f"{prefix}{name}": array for name, array in layer.items()}
    file = written_head(tmp_path / f"head{suffix}", arrays)
    (built,) = build(
        checkpoint, out=tmp_path, targets=["onnx"], head=str(file), labels=labels, **SMALLER
    ).built
    assert built.spec.labels == ("jump", "run", "walk")
    assert built.spec.output.kind == "logits"
    assert built.spec.source["head_file"]["file"] == file.name
    assert len(built.spec.source["head_file"]["sha256"]) == 64
    with Predictor(built.path) as one, Predictor(model) as other:
        clips = verification_clips(one.spec, 2)
        features = other.features_of(clips).features
        found = one.outputs_of(clips)
    expected = features @ layer["weight"].T + layer["bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_head_takes_the_place_of_another(labels, tmp_path):
    source = saved(tmp_path / "net.safetensors", random_parameters(**SMALL))
    features = SMALL["widths"][-1]
    file = written_head(tmp_path / "head.npz", head(features=features))
    options = {"frames": 4, "size": 32, "preset": "kinetics400-gluoncv", "labels": labels}
    (built,) = build(source, out=tmp_path, targets=["onnx"], head=str(file), **options).built
    assert built.spec.labels == ("jump", "run", "walk")
    assert built.spec.source["left_out"] == ["fc"]


def test_a_head_of_several_layers(checkpoint, labels, tmp_path):
    one, two = head(classes=5), head(classes=3, features=5)
    arrays = {f"0.{name}": array for name, array in one.items()}
    arrays |= {f"2.{name}": array for name, array in two.items()}
    file = str(written_head(tmp_path / "head.npz", arrays))
    options = {"out": tmp_path, "targets": ["onnx"], "head": file, "labels": labels, **SMALLER}
    with pytest.raises(CheckpointError, match="say it with --head-activation relu or none"):
        build(checkpoint, **options)
    (built,) = build(checkpoint, head_activation="relu", **options).built
    assert len(built.spec.labels) == 3


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"weight": np.ones((3, 7), np.float32)}, r"layer head_file.* takes 7 numbers, and .* 12"),
        ({"bias": np.ones(3, np.float32)}, "there is no matrix weight; give weight .classes x"),
        ({"weight": np.ones((3, 12), np.int64)}, "weight is no array of finite numbers"),
        ({"weight": np.full((3, 12), np.nan, np.float32)}, "weight is no array of finite numbers"),
        ({**head(), "scale": np.ones((2, 2), np.float32)}, "left over"),
    ],
    ids=["width", "bias", "whole", "nan", "more"],
)
def test_heads_that_do_not_fit(checkpoint, labels, arrays, sentence, tmp_path):
    file = written_head(tmp_path / "head.npz", arrays)
    with pytest.raises(ModelError, match=sentence):
        build(
            checkpoint,
            out=tmp_path / "out",
            targets=["onnx"],
            head=str(file),
            labels=labels,
            **SMALLER,
        )
    assert not (tmp_path / "out").exists()


def test_heads_that_cannot_be_read(checkpoint, labels, tmp_path):
    options = {"out": tmp_path / "out", "targets": ["onnx"], "labels": labels, **SMALLER}
    with pytest.raises(ModelNotFoundError, match=r"head .*absent\.npz does not exist"):
        build(checkpoint, head=str(tmp_path / "absent.npz"), **options)
    (tmp_path / "text.npz").write_text("weight")
    with pytest.raises(ModelError, match=r"head .*text\.npz cannot be read"):
        build(checkpoint, head=str(tmp_path / "text.npz"), **options)
    written_head(tmp_path / "head.npz", head())
    with pytest.raises(SpecError, match="101 labels and the network 3 classes"):
        build(checkpoint, head=str(tmp_path / "head.npz"), **{**options, "labels": None})


def test_names_make_values_of_features(checkpoint, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps([f"unit {number}" for number in range(FEATURES)]))
    (built,) = build(checkpoint, out=tmp_path, targets=["onnx"], labels=names, **SMALLER).built
    assert (built.spec.output.kind, built.spec.labels[3]) == ("values", "unit 3")
    with pytest.raises(UsageError, match="features have no names, and labels were given"):
        build(
            checkpoint,
            out=tmp_path,
            targets=["onnx"],
            labels=names,
            output_kind="features",
            **SMALLER,
        )


def test_a_classifier_is_not_called_features(tmp_path):
    source = saved(tmp_path / "net.safetensors", random_parameters(**SMALL))
    with pytest.raises(SpecError, match=r"has a classifier, and the contract says .* features"):
        build(
            source,
            out=tmp_path,
            targets=["onnx"],
            preset="kinetics400-gluoncv",
            output_kind="features",
        )


def test_an_onnx_file_can_end_at_features(further, tmp_path):
    import onnx

    bare = onnx.load(further)
    del bare.metadata_props[:]
    del bare.graph.output[1:]
    onnx.save(bare, tmp_path / "bare.onnx")
    (built,) = build(
        tmp_path / "bare.onnx",
        out=tmp_path,
        targets=["onnx"],
        output_kind="features",
        pixels="normalized",
        **SMALLER,
    ).built
    assert (built.spec.labels, built.spec.outputs) == ((), FEATURES)
