"""The presets against the code that they restate, and label files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from requirements import needs

from r2p_edge.calibration import motion
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.presets import PRESETS, Preset, fitting_presets, preset
from r2p_edge.spec import ModelSpec


@pytest.mark.parametrize("item", PRESETS.values(), ids=PRESETS)
def test_every_preset_makes_a_spec(item: Preset) -> None:
    labels = [f"class {number}" for number in range(item.classes)]
    if item.label_file is not None:
        labels = list(item.labels)
        assert len(labels) == len(set(labels)) == item.classes
    spec = item.spec(
        name="m",
        arch="r2plus1d_18",
        source={"file": "m.pth"},
        precision="fp16",
        labels=labels if item.label_file is None else None,
    )
    assert (spec.arch, spec.precision, spec.labels) == ("r2plus1d_18", "fp16", tuple(labels))
    for field in ("clip", "resize", "crop", "scale", "mean", "std"):
        assert getattr(spec, field) == getattr(item, field)
    larger = {"mmaction2", "pytorchvideo", "piergiaj-i3d", "torchvision-s3d"}
    size = 224 if larger & set(item.families) else 112
    pixels = item.flow is None or item.flow.levels == "uint8"
    last = (item.clip.frames, size, size, item.channels)
    assert spec.input_shape == (1, *(last if pixels else (last[-1], *last[:-1])))
    layout = "NTHWC" if pixels else "NCTHW"
    assert (spec.input.color, spec.input.layout) == (item.color, layout)
    assert set(item.families) <= FAMILIES.keys()
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_spec_with_other_labels_and_fields() -> None:
    item = preset("kinetics400-torchvision")
    clip = dataclasses.replace(item.clip, frames=8)
    spec = item.spec(name="m", labels=["a", "b"], clip=clip)
    assert (spec.labels, spec.clip.frames) == (("a", "b"), 8)
    with pytest.raises(SpecError, match="no field frames"):
        item.spec(name="m", frames=8)


def test_a_preset_without_names_of_classes() -> None:
    with pytest.raises(UsageError, match=r"preset kinetics700-kenshohara has no names .*700 outp"):
        preset("kinetics700-kenshohara").spec(name="m")
    assert preset("kinetics700-kenshohara").spec(name="m", labels=["a"]).labels == ("a",)


def test_every_family_of_pytorch_has_a_preset() -> None:
    told = {name for item in PRESETS.values() for name in item.families}
    rest = {name for name in FAMILIES if name not in told}
    variants = {name for name in rest if name.endswith(("-a", "-no-pool", "-pool1"))}
    assert rest - variants == {"mindspore-zjut"}  # 16 frames of a whole video


FIGURES = {
    "fewshot_r2plus1d_18": "fewshot",
    "gluoncv_r2plus1d_v1_resnet18": "kinetics400-gluoncv",
    "hassony2_i3d_rgb_t16": "kinetics400-i3d",
    "ig65m_r2plus1d_34_32": "kinetics400-ig65m",
    "jfzhang95_r2plus1d": "ucf101-jfzhang95",
    "jfzhang95_r3d": "ucf101-jfzhang95",
    "kenshohara_r2plus1d_18": "kinetics700-kenshohara",
    "kenshohara_resnet_18": "kinetics700-kenshohara",
    "leftthomas_r2plus1d": "ucf101-leftthomas",
    "mmaction2_r2plus1d_r34": "kinetics400-mmaction2",
    "piergiaj_i3d_flow_t16": "kinetics400-i3d-flow",
    "piergiaj_i3d_rgb_t16": "kinetics400-i3d",
    "pytorchvideo_r2plus1d_r50": "kinetics400-pytorchvideo",
    "torchvision_mc3_18": "kinetics400-torchvision",
    "torchvision_r2plus1d_18": "kinetics400-torchvision",
    "torchvision_r3d_18": "kinetics400-torchvision",
    "tsp_r2plus1d_18": "activitynet-tsp",
    "utkarsh_r3d_18": "ucf101-utkarsh",
}
"""Presets by the files of the test data that have their figures."""


@pytest.mark.parametrize("file", FIGURES)
def test_figures_of_the_repositories(data: Path, file: str) -> None:
    known = json.loads((data / "zoo" / f"{file}.json").read_text())
    wanted, item = known["preprocessing"], PRESETS[FIGURES[file]]
    assert item.clip.frames == wanted["frames"]
    assert item.clip.interval == wanted.get("training_interval", wanted["interval"])
    assert item.clip.fps == (wanted["fps"] or item.clip.fps)
    resize = {key: wanted["resize"][key] for key in ("height", "width") if key in wanted["resize"]}
    assert item.resize.mode == wanted["resize"]["kind"]
    assert {"size": wanted["resize"].get("size"), **resize}.items() <= vars(item.resize).items()
    assert (item.crop.height, item.crop.width) == (112, 112) or wanted["crop"]["height"] == 224
    for pixel in (0.0, 200.0):
        found = (pixel * item.scale - np.array(item.mean)) / item.std
        expected = (pixel * wanted["scale"] - np.array(wanted["mean"])) / wanted["std"]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    if item.flow is None:
        assert item.color == wanted["color"]
    else:
        assert wanted["color"] == (
            f"flow x, flow y (8-bit images of TV-L1 flow truncated to [-{item.flow.bound:g}, "
            f"{item.flow.bound:g}])"
        )
    assert item.classes == known["output"]["classes"]


def test_unknown_preset() -> None:
    with pytest.raises(UsageError, match=r"preset ucf does not exist; choose one such as ucf101"):
        preset("ucf")
    with pytest.raises(UsageError, match=r"such as kinetics400-torchvision, .*--help lists them"):
        preset("kinetics-torchvision")
    with pytest.raises(UsageError, match=r"preset \? does not exist; choose one such as kinetics4"):
        preset("?")


def test_fitting_presets() -> None:
    shorter = ["kinetics400-torchvision", "kinetics400-gluoncv"]
    longer = ["kinetics400-vmz", "kinetics400-ig65m", "kinetics400-gluoncv-v2"]
    larger = ["kinetics400-mmaction2", "kinetics400-mmaction2-32x2", "kinetics400-pytorchvideo"]
    larger += ["kinetics400-i3d", "kinetics400-torchvision-s3d"]
    assert sorted(fitting_presets(400)) == sorted([*shorter, *longer, *larger, "kinetics400-irhum"])
    assert fitting_presets(400, frames=16, size=(112, 112)) == shorter
    assert fitting_presets(400, frames=32, size=(112, 112)) == longer
    assert fitting_presets(400, frames=8) == ["kinetics400-mmaction2", "kinetics400-irhum"]
    assert fitting_presets(400, size=(224, 224)) == larger
    assert fitting_presets(101, frames=32) == ["ucf101-leftthomas"]
    assert fitting_presets(700) == ["kinetics700-kenshohara"]
    assert fitting_presets(12) == ["motion"]
    assert fitting_presets(5) == []


@needs("torchvision")
@needs("torch")
def test_torchvision_preset_is_torchvisions(torchvision: Any) -> None:
    weights = torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1
    item = preset("kinetics400-torchvision")
    assert item.labels == tuple(weights.meta["categories"])
    transform = weights.transforms()
    assert [item.resize.height, item.resize.width] == transform.resize_size
    assert [item.crop.height, item.crop.width] == transform.crop_size
    assert (list(item.mean), list(item.std)) == (transform.mean, transform.std)
    protocol = f"`frame_rate={item.clip.fps:.0f}`, `clips_per_video=5`, and `clip_len=16`"
    assert protocol in weights.meta["_docs"]
    assert (item.clip.frames, item.clip.interval) == (16, 1)


@needs("torchvision")
@needs("torch")
def test_arithmetic_of_the_torchvision_preset(torchvision: Any) -> None:
    import torch

    item = preset("kinetics400-torchvision")
    rng = np.random.default_rng(0)
    # Already of the resized size, so that only crop and normalisation act.
    frames = rng.integers(0, 256, (2, 128, 171, 3), np.uint8)
    transform = torchvision.models.video.R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    expected = transform(torch.from_numpy(frames).permute(0, 3, 1, 2)).numpy()
    top, left = (round((full - 112) / 2) for full in (128, 171))
    assert item.crop.rounding == "half_even"
    cropped = frames[:, top : top + 112, left : left + 112]
    found = (cropped * item.scale - np.array(item.mean)) / np.array(item.std)
    np.testing.assert_allclose(found.transpose(3, 0, 1, 2), expected, atol=1e-5)


def test_motion_preset_is_that_of_the_training_data() -> None:
    item = preset("motion")
    assert item.labels == motion.CLASSES
    clip = item.clip
    assert (clip.frames, clip.fps, clip.interval) == (motion.FRAMES, motion.FPS, motion.INTERVAL)
    assert item.crop.height == item.crop.width == motion.SIZE
