"""Parameter names of the known sources, mapped onto one set of names."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from networks import random_parameters
from requirements import needs

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.dialects import DIALECTS, canonical_parameters

Parameters = dict[str, np.ndarray]

LEAVES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def renamed(parameters: Parameters, *rules: tuple[str, str]) -> Parameters:
    """Apply regular-expression rules to the names, in turn."""
    result = {}
    for name, array in parameters.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = array
    return result


def to_mindspore(parameters: Parameters) -> Parameters:
    # As research/cv/r2plus1d/transfer_pth.py of mindspore-ai/models does to GluonCV's names.
    result = {}
    for name, array in parameters.items():
        module, leaf = name.rsplit(".", 1)
        if re.search(r"(bn[12]|downsample\.1)$", module):
            module, leaf = f"{module}.bn2d", LEAVES[leaf]
        result[f"{module}.{leaf}"] = array
    return result


def to_zjut(parameters: Parameters) -> Parameters:
    return renamed(
        to_mindspore(parameters),
        (r"^conv1\.", "conv1.0."),
        (r"^bn1\.", "conv1.1."),
        (r"^conv2\.", "conv1.3."),
        (r"^bn2\.", "conv1.4."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv1\.", r"\1.conv12.conv\2_0.features.0."),
        (r"^(layer\d\.\d)\.conv(\d)\.bn1\.", r"\1.conv12.conv\2_0.features.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv2\.", r"\1.conv12.conv\2_1.features.0."),
        (r"^(layer\d\.\d)\.bn(\d)\.", r"\1.conv12.conv\2_1.features.1."),
        (r"downsample", "down_sample.features"),
        (r"^fc\.", "classifier."),
    )


def to_torchvision(parameters: Parameters) -> Parameters:
    return renamed(
        parameters,
        (r"^(layer\d\.\d)\.bn(\d)\.", r"\1.conv\2.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv1\.", r"\1.conv\2.0.0."),
        (r"^(layer\d\.\d)\.conv(\d)\.bn1\.", r"\1.conv\2.0.1."),
        (r"^(layer\d\.\d)\.conv(\d)\.conv2\.", r"\1.conv\2.0.3."),
        (r"^conv1\.", "stem.0."),
        (r"^bn1\.", "stem.1."),
        (r"^conv2\.", "stem.3."),
        (r"^bn2\.", "stem.4."),
    )


def small(**options: Any) -> Parameters:
    return random_parameters((2, 2, 2, 2), (8, 12, 16, 24), 7, **options)


def assert_canonical(found: Parameters, canonical: Parameters) -> None:
    assert found.keys() == canonical.keys()
    for name, array in canonical.items():
        assert found[name] is array


@pytest.mark.parametrize(
    ("dialect", "convert", "eps"),
    [
        ("gluoncv", lambda p: p, 1e-5),
        ("mindspore", to_mindspore, 1e-5),
        ("mindspore-zjut", to_zjut, 1e-5),
        ("torchvision", to_torchvision, 1e-5),
    ],
)
@pytest.mark.parametrize("counts", [(2, 2, 2, 2), (3, 4, 6, 3)])
def test_each_dialect(dialect: str, convert: Any, eps: float, counts: tuple[int, ...]) -> None:
    canonical = random_parameters(counts, (8, 12, 16, 24), 7)
    named = canonical_parameters(convert(canonical))
    assert (named.dialect, named.bn_eps) == (dialect, eps)
    assert_canonical(named.parameters, canonical)


def test_mid_channels_per_convolution_mean_vmz() -> None:
    # Only VMZ's networks have them under torchvision's names, and with them another epsilon.
    canonical = small(per_conv=True)
    named = canonical_parameters(to_torchvision(canonical))
    assert (named.dialect, named.bn_eps) == ("vmz", 1e-3)
    assert_canonical(named.parameters, canonical)


def test_counters_go_and_unknown_names_stay() -> None:
    canonical = small()
    odd = np.zeros(1, np.float32)
    extra = {"stem.1.num_batches_tracked": odd, "criterion.weight": odd, "n_averaged": odd}
    found = canonical_parameters({**to_torchvision(canonical), **extra}).parameters
    assert_canonical(found, {**canonical, "criterion.weight": odd, "n_averaged": odd})
    found = canonical_parameters({**to_mindspore(canonical), "extra.bn2d.gamma": odd}).parameters
    assert_canonical(found, {**canonical, "extra.bn2d.gamma": odd})


def test_two_names_of_one_parameter() -> None:
    parameters = to_torchvision(small())
    with pytest.raises(CheckpointError, match=r"both stem\.0\.weight and conv1\.weight"):
        canonical_parameters({**parameters, "conv1.weight": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["conv1.weight", "layer1.0.conv3.weight"], "bottleneck"),
        (["conv1.0.weight", "layer1.0.conv3.features.0.weight"], "bottleneck"),
        (["stem.0.weight", "layer1.0.conv3.0.weight"], "bottleneck"),
        (["stem.0.weight", "layer1.0.conv1.0.weight"], "R3D or MC3"),
        (["backbone.layer1.0.conv1.conv_s.weight"], "unknown"),
        (["conv1_middle_w", "comp_0_conv_1_middle_w"], "Caffe2"),
        (["Mixed_3b.b0.conv3d.weight"], "I3D"),
        (["a.weight", "b.weight"], r"\(a\.weight, b\.weight, \.\.\.\)"),
        ([], "none"),
    ],
)
def test_other_networks_are_refused(names: list[str], message: str) -> None:
    parameters = {name: np.zeros((1, 1, 1, 1, 1), np.float32) for name in names}
    message = "MMAction2|no known dialect" if message == "unknown" else message
    with pytest.raises(CheckpointError, match=message) as caught:
        canonical_parameters(parameters)
    assert "onnx_from_torch" in str(caught.value)
    assert all(dialect in str(caught.value) for dialect in DIALECTS)


@needs("torchvision")
@needs("torch")
def test_names_of_torchvision(torchvision: Any) -> None:
    state = torchvision.models.video.r2plus1d_18(num_classes=7).state_dict()
    named = canonical_parameters({name: tensor.numpy() for name, tensor in state.items()})
    assert named.dialect == "torchvision"
    canonical = random_parameters(classes=7)
    shapes = {name: array.shape for name, array in named.parameters.items()}
    assert shapes == {name: array.shape for name, array in canonical.items()}


@needs("torchvision")
@needs("torch")
def test_renamed_torchvision_weights_compute_the_same(torchvision: Any) -> None:
    import torch
    from networks import torch_network

    # The mean and variance are made uneven: two batch norms swapped would show.
    model = torchvision.models.video.r2plus1d_18(num_classes=7).eval()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    named = canonical_parameters(state)
    same = torch_network(named.parameters, (2, 2, 2, 2), named.bn_eps)
    clip = torch.randn(1, 3, 4, 32, 32, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(same(clip), model(clip))


@needs("torchvision")
@needs("torch")
@pytest.mark.parametrize("network", ["r3d_18", "mc3_18"])
def test_other_networks_of_torchvision(torchvision: Any, network: str) -> None:
    state = getattr(torchvision.models.video, network)(num_classes=7).state_dict()
    with pytest.raises(CheckpointError, match="R3D or MC3"):
        canonical_parameters({name: tensor.numpy() for name, tensor in state.items()})


@needs("mindspore")
def test_names_that_mindspore_gives() -> None:
    from mindspore import nn

    class Conv2Plus1D(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv3d(2, 3, (1, 3, 3), has_bias=False)
            self.bn1 = nn.BatchNorm3d(3)
            self.conv2 = nn.Conv3d(3, 2, (3, 1, 1), has_bias=False)

    class Block(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = Conv2Plus1D(), nn.BatchNorm3d(2)
            self.conv2, self.bn2 = Conv2Plus1D(), nn.BatchNorm3d(2)
            self.downsample = nn.SequentialCell([nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)])

    class Network(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv3d(3, 2, 7, has_bias=False), nn.BatchNorm3d(2)
            self.conv2, self.bn2 = nn.Conv3d(2, 2, 7, has_bias=False), nn.BatchNorm3d(2)
            self.layer1 = nn.SequentialCell([Block()])
            self.fc = nn.Dense(2, 7)

    arrays = {p.name: p.asnumpy() for p in Network().get_parameters()}
    named = canonical_parameters(arrays)
    assert named.dialect == "mindspore"
    assert named.bn_eps == nn.BatchNorm3d(2).bn2d.eps
    # The small network has no second stage, so its shortcut carries its parameters in the first.
    expected = {
        name
        for name in random_parameters((1, 1, 0, 0), (2, 2, 2, 2), 7)
        if not name.startswith("layer2")
    }
    shortcut = {"0.weight", *(f"1.{leaf}" for leaf in LEAVES)}
    assert set(named.parameters) == expected | {f"layer1.0.downsample.{s}" for s in shortcut}
