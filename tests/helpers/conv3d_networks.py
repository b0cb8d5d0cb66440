"""Video networks of several kinds as torch modules, small and with random statistics."""

from __future__ import annotations

import io
import logging
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def random_statistics(network: nn.Module) -> nn.Module:
    """Return the network in evaluation mode, with random batch-norm statistics."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def exported(network: nn.Module, example: torch.Tensor, *, dynamo: bool, opset: int) -> Any:
    """Export the network with torch.onnx.export."""
    import onnx

    file = io.BytesIO()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            arguments = {"dynamo": dynamo, "opset_version": opset}
            if dynamo:
                program = torch.onnx.export(network, (example,), verbose=False, **arguments)
                return program.model_proto
            torch.onnx.export(network, (example,), file, **arguments)
    finally:
        logging.disable(level)
    return onnx.load_model_from_string(file.getvalue())


class Unit(nn.Module):
    """A convolution, batch norm and ReLU, with TensorFlow's SAME padding."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = same(x, self.conv.kernel_size, self.conv.stride)
        return functional.relu(self.norm(self.conv(x)))


class SamePool(nn.Module):
    def __init__(self, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(kernel, stride, ceil_mode=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pool(same(x, self.pool.kernel_size, self.pool.stride))


def same(x: torch.Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    pads: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride):
        total = max(k - (size % s or s), 0)
        pads = [total // 2, total - total // 2, *pads]
    return functional.pad(x, pads)


class Inception(nn.Module):
    def __init__(self, inputs: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d, e, f = sizes
        self.one = Unit(inputs, a)
        self.two = nn.Sequential(Unit(inputs, b), Unit(b, c, 3))
        self.three = nn.Sequential(Unit(inputs, d), Unit(d, e, 3))
        self.four = nn.Sequential(SamePool((3, 3, 3), (1, 1, 1)), Unit(inputs, f))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(x), self.two(x), self.three(x), self.four(x)], 1)


class InflatedInception(nn.Module):
    """A small network in the manner of I3D."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Unit(3, 8, 7, 2),
            SamePool((1, 3, 3), (1, 2, 2)),
            Unit(8, 8),
            Unit(8, 12, 3),
            SamePool((1, 3, 3), (1, 2, 2)),
            Inception(12, (4, 6, 8, 2, 4, 4)),
            Inception(20, (4, 6, 8, 2, 4, 4)),
            SamePool((3, 3, 3), (2, 2, 2)),
            Inception(20, (6, 6, 8, 2, 4, 6)),
            SamePool((2, 2, 2), (2, 2, 2)),
            nn.AvgPool3d((2, 2, 2), 1),
        )
        self.head = nn.Conv3d(24, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.features(x))
        return x.squeeze(4).squeeze(3).mean(2)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.reduce, self.expand = nn.Conv3d(channels, 4, 1), nn.Conv3d(4, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.expand(functional.relu(self.reduce(self.pool(x)))))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, middle: int, stride: int, dilation: int = 1) -> None:
        super().__init__()
        strides = (1, stride, stride)
        depthwise = nn.Conv3d(
            middle, middle, 3, strides, dilation, dilation=dilation, groups=middle, bias=False
        )
        self.layers = nn.Sequential(
            nn.Conv3d(inputs, middle, 1, bias=False),
            nn.BatchNorm3d(middle),
            nn.ReLU(),
            depthwise,
            nn.BatchNorm3d(middle),
            SqueezeExcite(middle),
            nn.Hardswish(),
            nn.Conv3d(middle, inputs, 1, bias=False),
            nn.BatchNorm3d(inputs),
        )
        self.shortcut = nn.Conv3d(inputs, inputs, 1, strides) if stride > 1 else nn.Identity()
        self.activation = nn.PReLU(inputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.layers(x) + self.shortcut(x))


class Depthwise(nn.Module):
    """A small network with parts of X3D, SlowFast, ShuffleNet and TSM."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 12, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False),
            nn.Conv3d(12, 12, (5, 1, 1), (1, 1, 1), (2, 0, 0), groups=12, bias=False),
            nn.BatchNorm3d(12),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(Bottleneck(12, 18, 2), Bottleneck(12, 18, 1, dilation=2))
        self.lateral = nn.Conv3d(12, 12, (3, 1, 1), (2, 1, 1), (1, 0, 0), groups=3)
        self.norm = nn.GroupNorm(4, 12)
        self.project, self.head = nn.Linear(24, 10), nn.Linear(10, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        n, c, t, h, w = x.shape
        # The channels of three groups mixed, then some of them one frame later or earlier.
        x = x.view(n, 3, c // 3, t, h, w).transpose(1, 2).reshape(n, c, t, h, w)
        early, late, rest = x.split([3, 3, 6], 1)
        early = functional.pad(early[:, :, 1:], (0, 0, 0, 0, 0, 1))
        late = functional.pad(late[:, :, :-1], (0, 0, 0, 0, 1, 0))
        x = self.norm(torch.cat([early, late, rest], 1))
        x = torch.cat([self.lateral(x), x[:, :, ::2]], 1)
        # Attention over the positions, then a classifier per position.
        flat = x.flatten(2)
        weights = torch.softmax(flat.transpose(1, 2) @ flat / 100, 1)
        x = x + (flat @ weights).reshape(x.shape)
        x = functional.relu(self.project(x.permute(0, 2, 3, 4, 1)))
        return self.head(x.permute(0, 4, 1, 2, 3).amax(2).mean((-1, -2)))
