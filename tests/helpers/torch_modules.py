"""Small PyTorch modules that answer in the ways in which public networks do."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Small(nn.Module):
    """A convolution with batch norm whose frames stay apart: (N, 3, T, H, W) to (N, 6, T)."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(3, classes, (3, 7, 7), (1, 4, 4), (1, 3, 3))
        self.norm = nn.BatchNorm3d(classes)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(clips)).relu().mean((3, 4))


class Scores(Small):
    """The same with the mean over time: (N, 6)."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return super().forward(clips).mean(2)


class Named(NamedTuple):
    """Two outputs with names."""

    features: Any
    logits: Any


@dataclasses.dataclass
class Answer:
    """Two outputs in a dataclass."""

    features: Any
    logits: Any


class Answers(Small):
    """A module that makes something of (N, 6, T) and the scores (N, 6)."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def forward(self, clips: torch.Tensor) -> Any:
        frames = super().forward(clips)
        return self.make(frames, frames.mean(2))


class Pathways(Small):
    """A network of a slow and a fast pathway."""

    def forward(self, clips: list[torch.Tensor]) -> torch.Tensor:
        assert isinstance(clips, list), "input needs to be a list of tensors"
        return sum(super(Pathways, self).forward(clip).mean(2) for clip in clips)


class ShortcutA(Small):
    """A stage as kenshohara's ResNets have it with shortcut A: read from `.data`, filled up."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        out = functional.avg_pool3d(clips, kernel_size=1, stride=4)
        size = out.size(0), 6 - out.size(1), out.size(2), out.size(3), out.size(4)
        shortcut = torch.cat([out.data, torch.Tensor(*size).zero_()], dim=1)
        x = functional.avg_pool3d(self.norm(self.conv(clips)), (4, 1, 1), (4, 1, 1))
        return (x + shortcut).relu().mean((2, 3, 4))


class Rolled(Small):
    """A module that rolls its frames and rows by nothing, and by one."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = torch.roll(self.norm(self.conv(clips)), (0, 1, 0), (2, 3, 4))
        return (x * torch.linspace(0, 1, x.shape[3])[:, None]).mean((2, 3, 4))
