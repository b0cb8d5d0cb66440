"""Whole networks as PyTorch saves them, whose strides and epsilons are the file's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import FLOAT, spec_for
from parity_checks import answers_of_each_form
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.verify.reference import reference_logits

pytestmark = [
    *(needs(name) for name in ("onnx", "onnxruntime", "torch", "torchvision")),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]

CLASSES, SHAPE = 7, (1, 3, 4, 32, 32)


@pytest.fixture(scope="module")
def odd(torchvision):
    """A network of torchvision's, with other strides in layer 4 and another epsilon."""
    import torch

    torch.manual_seed(0)
    resnet = torchvision.models.video.resnet
    net = resnet.VideoResNet(
        resnet.BasicBlock, [resnet.Conv2Plus1D] * 4, [1, 1, 1, 1], resnet.R2Plus1dStem, CLASSES
    ).eval()
    for part in net.layer4.modules():
        if isinstance(part, torch.nn.Conv3d):
            part.stride = (1, 1, 1)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm3d):
            part.eps = 0.01
            part.running_var.uniform_(0.02, 0.1)
    return net


def clip() -> Any:
    import torch

    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


def save_exported(net: Any, path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(net, (clip(),)), path)


def save_traced(net: Any, path: Path) -> None:
    import torch

    torch.jit.trace(net, clip()).save(path)


def save_scripted(net: Any, path: Path) -> None:
    import torch

    torch.jit.script(net).save(path)


def save_wrapped(net: Any, path: Path) -> None:
    import torch

    torch.save({"epoch": 3, "net": torch.nn.DataParallel(net), "names": ["a"]}, path)


def save_beside_its_parameters(net: Any, path: Path) -> None:
    import torch

    torch.save({"state_dict": net.state_dict(keep_vars=True), "model": net}, path)


FORMS = [save_exported, save_traced, save_scripted, save_wrapped, save_beside_its_parameters]


def difference(net: Any, found: np.ndarray) -> float:
    import torch

    with torch.no_grad():
        expected = net(clip()).numpy()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("save", FORMS)
def test_strides_and_epsilons_of_a_file_are_used(odd, tmp_path, save):
    path = tmp_path / ("net.pt2" if save is save_exported else "net.pth")
    save(odd, path)
    named = WeightsOptions().named(read_checkpoint(path))
    assert named.family.name == "torchvision"
    assert named.record() == {"layers_by": "file"}
    network = named.network()
    assert network.reduction == (4, 8)
    found = reference_logits(named.parameters, network, clip().numpy())
    assert difference(odd, found) < 1e-5
    if save is save_wrapped:
        spec = spec_for(CLASSES, frames=4, size=32, input=FLOAT)
        for found in answers_of_each_form(named.parameters, network, spec, clip().numpy()):
            assert difference(odd, found) < 1e-5


def test_parameters_alone_need_to_be_told(odd, tmp_path):
    import torch

    torch.save(odd.state_dict(), tmp_path / "net.pth")
    read = read_checkpoint(tmp_path / "net.pth")
    silent, told = (WeightsOptions(bn_eps=eps).named(read) for eps in (None, 0.01))
    assert (silent.record(), told.record()) == ({}, {"bn_eps": 0.01})
    assert {step.eps for step in told.network().stem if hasattr(step, "eps")} == {0.01}
    assert {step.eps for step in silent.network().stem if hasattr(step, "eps")} == {1e-5}


def test_a_word_against_the_file(odd, tmp_path):
    import torch

    torch.save(odd, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"epsilon of stem\.\d is 0\.01, and bn_eps is 1e-05"):
        WeightsOptions(bn_eps=1e-5).named(read_checkpoint(tmp_path / "net.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net, nn: setattr(net.layer1[0].conv1[0][0], "dilation", (1, 2, 2)),
            r"layer1\.0\.conv1\.0\.0 has dilation \(1, 2, 2\), and only \(1, 1, 1\) can",
        ),
        (
            lambda net, nn: setattr(net.layer1[0].conv1[0][0], "padding", (0, 2, 2)),
            r"layer1\.0\.conv1\.0\.0 has padding \(0, 2, 2\), and only \(0, 1, 1\) can",
        ),
        (
            lambda net, nn: setattr(net.stem[0], "padding_mode", "reflect"),
            r"stem\.0 has padding_mode reflect, and only zeros can",
        ),
        (
            lambda net, nn: setattr(net.layer3[0].downsample[0], "stride", (1, 2, 2)),
            r"two paths of block layer3\.0 have strides \(2, 2, 2\) and \(1, 2, 2\)",
        ),
        (
            lambda net, nn: setattr(net.layer2[0], "relu", nn.SiLU()),
            r"layer layer2\.0\.relu is a torch\.nn\.modules\.activation\.SiLU, which no k",
        ),
        (
            lambda net, nn: net.stem.append(nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
            r"those of torchvision, but the file has stem\.6 of \(1, 3, 3\) for a max pool",
        ),
    ],
)
def test_what_no_family_has_is_named(odd, tmp_path, change, message):
    import copy

    import torch

    net = copy.deepcopy(odd)
    change(net, torch.nn)
    torch.save(net, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        WeightsOptions().named(read_checkpoint(tmp_path / "net.pth")).network()
    assert "onnx_from_torch" in str(caught.value)
