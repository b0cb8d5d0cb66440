"""The presets against the code that they restate, and label files."""

from __future__ import annotations

import dataclasses
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
    assert len(item.labels) == len(set(item.labels)) == item.classes
    spec = item.spec(name="m", arch="r2plus1d_18", source={"file": "m.pth"}, precision="fp16")
    assert (spec.arch, spec.precision, spec.labels) == ("r2plus1d_18", "fp16", item.labels)
    for field in ("clip", "resize", "crop", "scale", "mean", "std"):
        assert getattr(spec, field) == getattr(item, field)
    assert spec.input_shape == (1, item.clip.frames, 112, 112, 3)
    assert set(item.families) <= FAMILIES.keys()
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_spec_with_other_labels_and_fields() -> None:
    item = preset("kinetics400-torchvision")
    clip = dataclasses.replace(item.clip, frames=8)
    spec = item.spec(name="m", labels=["a", "b"], clip=clip)
    assert (spec.labels, spec.clip.frames) == (("a", "b"), 8)
    with pytest.raises(SpecError, match="no field frames"):
        item.spec(name="m", frames=8)


def test_unknown_preset() -> None:
    with pytest.raises(UsageError, match=r"preset ucf does not exist; .*ucf101-mindspore"):
        preset("ucf")


def test_fitting_presets() -> None:
    kinetics = ["kinetics400-torchvision", "kinetics400-gluoncv"]
    longer = ["kinetics400-vmz", "kinetics400-ig65m"]
    assert sorted(fitting_presets(400)) == sorted(kinetics + longer)
    assert fitting_presets(400, frames=16, size=(112, 112)) == kinetics
    assert fitting_presets(400, frames=32) == longer
    assert fitting_presets(400, frames=8) == []
    assert fitting_presets(400, size=(224, 224)) == []
    assert fitting_presets(101) == ["ucf101-mindspore"]
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
