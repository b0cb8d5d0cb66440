"""An R(2+1)D in PyTorch that sees every frame of a stream: no stride in time, but dilation.

It is the batch form that a graph with state has to equal, and is made of `networks.torch_network`
by changing its convolutions alone.
"""

from __future__ import annotations

import copy
from typing import Any


def dilated(network: Any, causal_from: int | None = None) -> Any:
    """Return a copy that strides nowhere in time, where each tensor's index is its centre.

    Args:
        network: of `torch_network`.
        causal_from: last stage that sees later frames. Convolutions of the later stages begin with
            nothing of the oldest of their taps, and the last two of the old ones in the newest.
    """
    import torch
    from torch import nn

    class Causal(nn.Module):
        def __init__(self, conv: Any, gap: int) -> None:
            super().__init__()
            before, centre, after = conv.weight.data.unbind(2)
            conv.weight.data = torch.stack([torch.zeros_like(before), before, centre + after], 2)
            conv.padding, conv.dilation, conv.stride = (0, 0, 0), (gap, 1, 1), (1, 1, 1)
            self.conv, self.gap = conv, gap

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(nn.functional.pad(x, (0, 0, 0, 0, 2 * self.gap, 0)))

    def in_time(conv: Any, gap: int, causal: bool) -> Any:
        if causal:
            return Causal(conv, gap)
        conv.padding, conv.dilation, conv.stride = (gap, 0, 0), (gap, 1, 1), (1, 1, 1)
        return conv

    network = copy.deepcopy(network)
    gap = 1
    for stage in range(1, 5):
        causal = causal_from is not None and stage > causal_from
        for block in getattr(network, f"layer{stage}"):
            stride = block.conv1.conv2.stride[0]
            block.conv1.conv2 = in_time(block.conv1.conv2, gap, causal)
            gap *= stride
            block.conv2.conv2 = in_time(block.conv2.conv2, gap, causal)
            if block.downsample is not None:
                block.downsample[0].stride = (1, *block.downsample[0].stride[1:])
    return network


def stage_features(network: Any, clip: Any, stage: int) -> Any:
    """Return a stage's output for (1, 3, T, H, W); 0 is the stem."""
    x = network.relu(network.bn1(network.conv1(clip)))
    x = network.relu(network.bn2(network.conv2(x)))
    for number in range(1, stage + 1):
        x = getattr(network, f"layer{number}")(x)
    return x


def later_stages(network: Any, x: Any, stage: int) -> Any:
    """Return the answer for a stage's output."""
    for number in range(stage + 1, 5):
        x = getattr(network, f"layer{number}")(x)
    return network.fc(network.avgpool(x).flatten(1))
