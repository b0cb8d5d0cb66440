"""Doubts about a recipe are told, recorded, and refused with --strict."""

import argparse
import json

import numpy as np
import pytest
from exit_codes import MODEL
from networks import SMALL, random_parameters
from requirements import needs

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import SpecError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.carried import CarriedRecipe, carried_recipe
from r2p_edge.export.checkpoints.inert_pickle import Global, Instance
from r2p_edge.export.doubts import Choices, doubts_of
from r2p_edge.export.presets import PRESETS, preset
from r2p_edge.export.source import WeightsFacts

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]

SEVEN = [f"class {i}" for i in range(7)]


def facts(family, classes=400, **carried):
    return WeightsFacts(family, classes, "0" * 64, CarriedRecipe(**carried))


def doubts(family, preset_name, labels=None, **carried):
    spec = preset(preset_name).spec(name="net", labels=labels)
    about = facts(family, len(spec.labels), **carried)
    bundled = preset_name == "motion"
    return doubts_of(about, Choices(preset_name, labels is not None), spec, bundled)


@pytest.mark.parametrize("item", PRESETS.values(), ids=PRESETS)
def test_no_preset_is_doubted_for_its_own_families(item):
    labels = [f"class {i}" for i in range(item.classes)] if item.label_file is None else None
    for family in item.families:
        found = doubts(family, item.name, labels)
        assert [item.inexact in doubt for doubt in found] == [True] * bool(item.inexact)


@pytest.mark.parametrize(
    ("family", "preset_name", "way"),
    [
        ("gluoncv", "kinetics400-torchvision", "--preset kinetics400-gluoncv"),
        ("torchvision", "kinetics400-gluoncv", "--preset kinetics400-torchvision"),
        ("torchvision", "ucf101-mindspore", "--preset kinetics400-torchvision"),
        ("vmz", "kinetics400-torchvision", "kinetics400-vmz or kinetics400-ig65m"),
    ],
)
def test_a_preset_of_another_family(family, preset_name, way):
    (found,) = doubts(family, preset_name)
    assert f"the network's names are those of {family} and preset {preset_name}" in found
    assert way in found


CLASS_IND = tuple(
    sorted(preset("ucf101-mindspore").labels, key=str.casefold)
)  # UCF101's own numbers


def test_classes_in_the_order_of_other_code():
    folders = preset("ucf101-mindspore").labels
    moved = [i for i, pair in enumerate(zip(folders, CLASS_IND)) if len(set(pair)) > 1]
    assert moved == [34, 35, 46, 47]  # as the two orders are known to differ
    (found,) = doubts("torchvision", "kinetics400-torchvision", CLASS_IND)
    assert "another order (output 34 is 'Hammering' and not 'HammerThrow'" in found
    assert doubts("torchvision", "kinetics400-torchvision", folders) == []
    assert doubts("mindspore", "ucf101-mindspore", CLASS_IND)
    own = [*preset("kinetics400-gluoncv").labels]
    own[3], own[300] = own[300], own[3]
    (found,) = doubts("gluoncv", "kinetics400-gluoncv", own)
    assert "those of preset kinetics400-gluoncv in another order" in found
    assert doubts("gluoncv", "kinetics400-gluoncv", [f"my {name}" for name in own]) == []


@pytest.mark.slow
def test_the_bundled_model_on_other_clips(tmp_path, run):
    assert build("motion", targets=["onnx"], out=tmp_path / "a").warnings == []
    code, output, errors = run("export", "motion", "--frames", 8, "--out", tmp_path / "b", "--json")
    assert code == 0
    assert "warning: these are the weights of the bundled model" in errors
    (found,) = json.loads(output)["warnings"]
    assert "with another clip: its" in found
    path = tmp_path / "b" / "motion-fp32.onnx"
    assert open_artifact(path).spec.checks == {"warnings": [found]}
    assert f"warning  {found}" in run("info", path)[1]
    code, _, errors = run("export", "motion", "--fps", 5, "--strict", "--out", tmp_path / "c")
    assert code == MODEL
    assert "(an error because of --strict)" in errors
    assert not (tmp_path / "c").exists()


@pytest.fixture
def saved(tmp_path):
    """Save the small network with torch, beside what a training script knows; return the file."""
    torch = pytest.importorskip("torch")

    def saved(**beside):
        path = tmp_path / "net.pth"
        tensors = {k: torch.from_numpy(v) for k, v in random_parameters(**SMALL).items()}
        torch.save({"state_dict": tensors, **beside}, path)
        return path

    return saved


@needs("torch")
def test_what_the_file_knows_is_used(saved, tmp_path):
    names = [f"own {i}" for i in range(7)]
    path = saved(
        hyper_parameters=argparse.Namespace(class_names=names), mean=[0.1, 0.2, 0.3], std=[1, 1, 2]
    )
    options = {"preset": "kinetics400-gluoncv", "targets": ["onnx"], "frames": 4, "size": 32}
    report = build(path, out=tmp_path / "a", **options)
    spec = report.built[0].spec
    assert (spec.labels, spec.mean, spec.std) == (tuple(names), (0.1, 0.2, 0.3), (1, 1, 2))
    assert report.warnings == []
    (tmp_path / "labels.txt").write_text("\n".join(SEVEN))
    options |= {"labels": tmp_path / "labels.txt", "out": tmp_path / "b"}
    (found,) = build(path, **options).warnings
    assert "own class names (hyper_parameters.class_names) are others" in found
    with pytest.raises(SpecError, match="output 0 is 'class 0' and not 'own 0'"):
        build(path, strict=True, **options)


def test_the_recipe_of_the_bundled_model_for_another():
    spec = preset("motion").spec(name="net")
    (found,) = doubts_of(facts("torchvision", 12), Choices("motion", False), spec, False)
    assert "preset motion is the recipe of the bundled model, and these are other weights" in found


def test_a_network_that_was_never_trained():
    spec = preset("kinetics400-torchvision").spec(name="net")
    about = facts("torchvision")._replace(untrained=True)
    choices = Choices("kinetics400-torchvision", False, golden=True)
    (found,) = doubts_of(about, choices, spec, False)
    assert "it was never trained" in found


def test_a_golden_pair_settles_what_the_file_leaves_open():
    spec = preset("kinetics400-torchvision").spec(name="net")
    about = facts("torchvision")._replace(doubts=("an own forward",))
    for golden, expected in ((False, ["an own forward"]), (True, [])):
        choices = Choices("kinetics400-torchvision", False, golden)
        assert doubts_of(about, choices, spec, False) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"args": {"num_frames": 32}}, "says 32 frames (args.num_frames) and the clips have 16"),
        ({"hyper_parameters": {"clip_len": 24}}, "give --frames 24 if"),
        ({"opt": {"sample_size": 224}}, "says a size of 224 (opt.sample_size) and the crop is 112"),
        ({"cfg": {"input_size": [160, 160]}}, "give --size 160"),
        ({"args": {"bgr": True}}, "pixels are in BGR (args.bgr)"),
        ({"cfg": {"to_rgb": False}}, "pixels are in BGR (cfg.to_rgb)"),
        ({"cfg": {"channel_order": "BGR"}}, "pixels are in BGR (cfg.channel_order)"),
        ({"num_classes": 5}, "says 5 classes (num_classes) and its network has 400"),
        ({"classes": ["a", "b"]}, "names of 2 classes (classes) and its network 400 outputs"),
    ],
)
def test_arguments_of_the_training_that_contradict_the_recipe(content, message):
    about = facts("torchvision")._replace(carried=carried_recipe(content))
    spec = preset("kinetics400-torchvision").spec(name="net")
    (found,) = doubts_of(about, Choices("kinetics400-torchvision", False), spec, False)
    assert message in found


@pytest.mark.parametrize(
    "content",
    [
        {"num_frames": 16, "size": 112, "num_classes": 400, "bgr": False, "to_rgb": True},
        {"num_frames": 1, "size": 8000, "n_classes": True, "input_size": [3, 112, 112]},
        {"num_frames": "32", "crop_size": None, "channel_order": "rgb", "rgb": None},
    ],
)
def test_arguments_that_do_not(content):
    about = facts("torchvision")._replace(carried=carried_recipe(content))
    spec = preset("kinetics400-torchvision").spec(name="net")
    assert doubts_of(about, Choices("kinetics400-torchvision", False), spec, False) == []


def of_class(name, state):
    return Instance(Global("argparse", name), (), state)


@pytest.mark.parametrize(
    ("content", "labels", "key"),
    [
        ({"class_names": ["a", "b"]}, ("a", "b"), "class_names"),
        ({"meta": {"CLASSES": ("a", "b")}}, ("a", "b"), "meta.CLASSES"),
        ({"class_to_idx": {"b": 1, "a": 0}}, ("a", "b"), "class_to_idx"),
        ({"idx_to_class": {0: "a", 1: "b"}}, ("a", "b"), "idx_to_class"),
        ({"cfg": {"id2label": {"1": "b", "0": "a"}}}, ("a", "b"), "cfg.id2label"),
        ({"args": of_class("Namespace", {"labels": ["a"]})}, ("a",), "args.labels"),
        ({"class_to_idx": {"b": 2, "a": 1}}, None, ""),
        ({"labels": ["a", "a"]}, None, ""),
        ({"labels": ["a", 1]}, None, ""),
        ({"labels": np.int64(3)}, None, ""),
        ({"labels": {"a": 10**30}}, None, ""),
        ({"labels": {"a": True}}, None, ""),
        ({"labels": ["a\nb"]}, None, ""),
    ],
)
def test_class_names_as_training_scripts_save_them(content, labels, key):
    found = carried_recipe(content)
    assert (found.labels, found.labels_key) == (labels, key)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"mean": [0.4, 0.5, 0.6], "std": (0.2, 0.2, 0.2)}, ((0.4, 0.5, 0.6), 1 / 255)),
        ({"cfg": {"img_mean": [114, 100, 90.0], "img_std": [1, 1, 1]}}, ((114, 100, 90), 1)),
        ({"mean": [0.4, 0.5, 0.6]}, (None, 1)),
        ({"mean": [0.4, 0.5, 0.6], "std": [0, 1, 1]}, (None, 1)),
        ({"mean": [0.4, 0.5], "std": [1, 1]}, (None, 1)),
        ({"mean": [float("nan"), 0, 0], "std": [1, 1, 1]}, (None, 1)),
    ],
)
def test_normalisations_as_training_scripts_save_them(content, expected):
    found = carried_recipe(content)
    assert (found.mean, found.scale) == expected


def test_an_object_in_itself():
    content = {"labels": ["a", "b"]}
    content["self"] = content
    assert carried_recipe(content).labels == ("a", "b")
