"""R(2+1)D networks with random weights and random batch-norm statistics, for many tests.

`random_parameters` makes canonically named arrays; `torch_network` is the same network as a torch
module, written from the layout of GluonCV's r2plus1d_v1 rather than from this package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from requirements import import_torchvision

from r2p_edge.export.checkpoints.families import FAMILIES
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.structure import VideoNetwork
from r2p_edge.spec import ClipSpec, CropSpec, InputSpec, ModelSpec, ResizeSpec

FLOAT = InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False)
"""Input of a network whose caller normalises."""

INPUTS = (
    InputSpec(),
    InputSpec(layout="NCTHW"),
    InputSpec(dtype="float32", layout="NTHWC"),
    FLOAT,
)
"""Every input that an artifact may have."""

SMALL = {"counts": (1, 1, 1, 1), "widths": (8, 12, 16, 24), "classes": 7}


def random_parameters(
    counts: Sequence[int] = (2, 2, 2, 2),
    widths: Sequence[int] = (64, 128, 256, 512),
    classes: int = 101,
    *,
    per_conv: bool = False,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draw the parameters of an R(2+1)D under their canonical names.

    Args:
        counts, widths: blocks and channels of each stage.
        per_conv: compute mid channels anew for each convolution, as VMZ does.
    """
    rng = np.random.default_rng(seed)
    parameters: dict[str, np.ndarray] = {}

    def conv(name: str, *shape: int) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        parameters[f"{name}.weight"] = rng.normal(0, scale, shape).astype(np.float32)

    def norm(name: str, channels: int) -> None:
        values = {
            "weight": rng.uniform(0.5, 1.5, channels),
            "bias": rng.normal(0, 0.2, channels),
            "running_mean": rng.normal(0, 0.2, channels),
            "running_var": rng.uniform(0.5, 1.5, channels),
        }
        for field, value in values.items():
            parameters[f"{name}.{field}"] = value.astype(np.float32)

    def mid(inputs: int, outputs: int) -> int:
        return (inputs * outputs * 3 * 3 * 3) // (inputs * 3 * 3 + 3 * outputs)

    stem = 45 * widths[0] // 64
    conv("conv1", stem, 3, 1, 7, 7)
    norm("bn1", stem)
    conv("conv2", widths[0], stem, 3, 1, 1)
    norm("bn2", widths[0])
    inputs = widths[0]
    for stage, (count, outputs) in enumerate(zip(counts, widths), 1):
        for index in range(count):
            block = f"layer{stage}.{index}"
            for i, channels in ((1, inputs), (2, outputs)):
                middle = mid(channels if per_conv else inputs, outputs)
                conv(f"{block}.conv{i}.conv1", middle, channels, 1, 3, 3)
                norm(f"{block}.conv{i}.bn1", middle)
                conv(f"{block}.conv{i}.conv2", outputs, middle, 3, 1, 1)
                norm(f"{block}.bn{i}", outputs)
            if stage > 1 and index == 0:
                conv(f"{block}.downsample.0", outputs, inputs, 1, 1, 1)
                norm(f"{block}.downsample.1", outputs)
            inputs = outputs
    parameters["fc.weight"] = rng.normal(0, 0.05, (classes, inputs)).astype(np.float32)
    parameters["fc.bias"] = rng.normal(0, 0.05, classes).astype(np.float32)
    return parameters


def headless_parameters(
    widths: Sequence[int] = (8, 8, 12, 12), seed: int = 0
) -> dict[str, np.ndarray]:
    """Draw the parameters of a small R(2+3)D, which has no classifier, under its own names.

    Args:
        widths: channels of each stage, of one block; the first is the stem's.
        seed: of the weights.
    """
    rng = np.random.default_rng(seed)
    parameters: dict[str, np.ndarray] = {}

    def unit(conv: str, norm: str, outputs: int, inputs: int, *kernel: int) -> None:
        scale = np.sqrt(2 / (inputs * np.prod(kernel)))
        weight = rng.normal(0, scale, (outputs, inputs, *kernel))
        parameters[f"{conv}.weight"] = weight.astype(np.float32)
        for leaf, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 1.5),
        ):
            parameters[f"{norm}.{leaf}"] = rng.uniform(low, high, outputs).astype(np.float32)

    unit("conv1", "bn1", widths[0], 3, 1, 7, 7)
    before = widths[0]
    for stage, width in enumerate(widths, 1):
        name, time = f"layer{stage}.0", 1 if stage < 3 else 3
        unit(f"{name}.conv1", f"{name}.bn1", width, before, time, 3, 3)
        unit(f"{name}.conv2", f"{name}.bn2", width, width, time, 3, 3)
        if stage > 1:
            unit(f"{name}.downsample.0", f"{name}.downsample.1", width, before, 1, 1, 1)
        before = width
    return parameters


def spec_for(
    classes: int, *, frames: int = 4, size: int = 32, input: InputSpec | None = None, **changes: Any
) -> ModelSpec:
    """Return a spec for clips of `frames` frames of `size` x `size` pixels."""
    spec = ModelSpec(
        name="test",
        labels=tuple(f"class {i}" for i in range(classes)),
        clip=ClipSpec(frames=frames, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=size + 16, width=size + 59),
        crop=CropSpec(height=size, width=size),
        scale=1 / 255,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        input=input or InputSpec(),
    )
    return spec.replace(**changes)


def network_of(parameters: dict[str, np.ndarray], eps: float = 1e-5) -> VideoNetwork:
    """Return the network of canonically named parameters, with that epsilon of batch norms."""
    family = dataclasses.replace(FAMILIES["gluoncv"], eps=eps)
    return network_from_parameters(parameters, family)


def small_network(
    spec: ModelSpec, batch: int = 1, parameters: Any = None, eps: float = 1e-5
) -> Any:
    """Build a small R(2+1)D as the package exports it, by default of the shape `SMALL`."""
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    parameters = random_parameters(**SMALL) if parameters is None else parameters
    return onnx_from_parameters(parameters, network_of(parameters, eps), spec, batch=batch)


def torch_network(
    parameters: dict[str, np.ndarray], counts: Sequence[int], eps: float = 1e-5
) -> Any:
    """Return a torch module in evaluation mode with these parameters."""
    import torch
    from torch import nn

    def sizes(name: str) -> tuple[int, int]:
        shape = parameters[f"{name}.weight"].shape
        return shape[1], shape[0]

    def norm(channels: int) -> nn.BatchNorm3d:
        return nn.BatchNorm3d(channels, eps=eps)

    class Conv2Plus1D(nn.Module):
        def __init__(self, name: str, stride: int) -> None:
            super().__init__()
            inputs, middle = sizes(f"{name}.conv1")
            outputs = sizes(f"{name}.conv2")[1]
            self.conv1 = nn.Conv3d(
                inputs, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False
            )
            self.bn1 = norm(middle)
            self.relu = nn.ReLU()
            self.conv2 = nn.Conv3d(
                middle, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv2(self.relu(self.bn1(self.conv1(x))))

    class BasicBlock(nn.Module):
        def __init__(self, name: str, stride: int) -> None:
            super().__init__()
            self.conv1 = Conv2Plus1D(f"{name}.conv1", stride)
            self.conv2 = Conv2Plus1D(f"{name}.conv2", 1)
            outputs = sizes(f"{name}.conv1.conv2")[1]
            self.bn1, self.bn2, self.relu = norm(outputs), norm(outputs), nn.ReLU()
            self.downsample = None
            if stride != 1:
                inputs = sizes(f"{name}.downsample.0")[0]
                conv = nn.Conv3d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, norm(outputs))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            shortcut = x if self.downsample is None else self.downsample(x)
            return self.relu(y + shortcut)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            (inputs, stem), (_, width) = sizes("conv1"), sizes("conv2")
            self.conv1 = nn.Conv3d(inputs, stem, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
            self.bn1, self.relu = norm(stem), nn.ReLU()
            self.conv2 = nn.Conv3d(stem, width, (3, 1, 1), 1, (1, 0, 0), bias=False)
            self.bn2 = norm(width)
            for stage, count in enumerate(counts, 1):
                strides = [2 if stage > 1 and index == 0 else 1 for index in range(count)]
                blocks = [BasicBlock(f"layer{stage}.{i}", s) for i, s in enumerate(strides)]
                setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.avgpool = nn.AdaptiveAvgPool3d(1)
            self.fc = nn.Linear(*sizes("fc"))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.relu(self.bn2(self.conv2(x)))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    network = Network()
    state = {name: torch.from_numpy(value) for name, value in parameters.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return network.eval()


def torchvision_network(arch: str = "r2plus1d_18", **arguments: Any) -> Any:
    """Return a network of torchvision with random statistics, and its state dict as arrays."""
    import torch

    import_torchvision()
    from torchvision.models import video

    torch.manual_seed(0)
    network = getattr(video, arch)(weights=None, **arguments).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    return network, state
