"""torchvision's R3D and MC3, and the second seed's with dropout, against what is made of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import torchvision_network
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.errors import CheckpointError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.spec import ModelSpec

pytestmark = [needs("torchvision"), pytest.mark.slow]

FRAMES, SIZE, CLASSES = 8, 48, 7


def with_dropout(network: Any) -> Any:
    """Add a dropout behind the last ReLU of each block, as the second seed's copy has it."""
    from torch import nn

    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        for block in stage:
            block.dropout = nn.Dropout(0.3)
    return network


def file_of(network: Any, folder: Path) -> Path:
    import torch

    torch.save({"epoch": 3, "state_dict": network.state_dict()}, folder / "net.pth")
    return folder / "net.pth"


def built_from(path: Path, folder: Path, *targets: str, **options: Any) -> list[Any]:
    labels = folder / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(CLASSES)), encoding="utf-8")
    return build(
        path,
        targets=list(targets),
        out=folder,
        preset="kinetics400-torchvision",
        labels=labels,
        frames=FRAMES,
        size=SIZE,
        replace=True,
        **options,
    ).built


def logits_of(network: Any, spec: ModelSpec, clips: np.ndarray) -> np.ndarray:
    import torch

    pixels = (clips / 255 - np.array(spec.mean)) / np.array(spec.std)
    with torch.inference_mode():
        answers: np.ndarray = network(
            torch.from_numpy(pixels.astype(np.float32).transpose(0, 4, 1, 2, 3))
        ).numpy()
    return answers


@pytest.mark.parametrize("arch", [pytest.param("r3d_18", marks=pytest.mark.long), "mc3_18"])
def test_every_form_gives_the_logits_of_torchvision(arch: str, tmp_path: Path) -> None:
    network, _ = torchvision_network(arch, num_classes=CLASSES)
    artifacts = built_from(file_of(with_dropout(network), tmp_path), tmp_path, "onnx")
    assert artifacts[0].spec.arch == arch
    assert artifacts[0].spec.source["dialect"] == "torchvision-r3d"
    bars = [1e-4]
    artifacts += built_from(artifacts[0].path, tmp_path, "onnx", graph="conv2d")
    bars += [1e-5]
    with contextlib.suppress(ImportError):
        import openvino  # noqa: F401

        artifacts += built_from(artifacts[0].path, tmp_path, "openvino")
        bars += [1e-4]
    clips = np.random.default_rng(0).integers(0, 256, (1, FRAMES, SIZE, SIZE, 3), np.uint8)
    expected = logits_of(network, artifacts[0].spec, clips)
    for artifact, bar in zip(artifacts, bars, strict=True):
        assert artifact.spec.parity["max_rel"] <= bar
        with Predictor(artifact.path) as predictor:
            found = predictor.outputs_of(clips)
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), artifact.path


def test_a_whole_module_with_dropout_is_read(tmp_path: Path) -> None:
    import torch

    network, state = torchvision_network("mc3_18", num_classes=CLASSES)
    torch.save(with_dropout(network), tmp_path / "net.pth")
    read = read_checkpoint(tmp_path / "net.pth")
    named = canonical_parameters(read.parameters, layers=read.layers)
    assert named.family.name == "torchvision-r3d"
    assert [step.stride for step in named.network().blocks[2].shortcut[:1]] == [(1, 2, 2)]
    np.testing.assert_array_equal(named.parameters["fc.weight"], state["fc.weight"])


@pytest.mark.parametrize(
    ("makers", "shown"),
    [("1333", "3, 1, 3, 3, 3 moments"), ("1111", "3, 1, 1, 1, 1 moments")],
    ids=["rmc3", "r2d"],
)
def test_other_mixtures_are_refused(makers: str, shown: str) -> None:
    from requirements import import_torchvision

    import_torchvision()
    from torchvision.models.video import resnet

    kinds = {"1": resnet.Conv3DNoTemporal, "3": resnet.Conv3DSimple}
    network = resnet.VideoResNet(
        resnet.BasicBlock, [kinds[each] for each in makers], [1, 1, 1, 1], resnet.BasicStem
    )
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"{shown}.*--module FILE:FACTORY"):
        canonical_parameters(arrays)
