"""Inception networks over time: I3D, and S3D, whose kernels are halves in space and time.

Nine modules of four branches follow three convolutions; what the branches give is put side by side
(Carreira and Zisserman 2017, arXiv 1705.07750; Xie et al. 2018, arXiv 1712.04851). All of them have
the same kernels, strides and pools; widths follow from the shapes. Canonical names are::

    UNIT.conv1 UNIT.bn1 [UNIT.conv2 UNIT.bn2]    a convolution, or its halves in space and time
    fc.{weight,bias}                             the classifier

where UNIT is one of the first three, as DeepMind calls them, or `Mixed_3b.BRANCH.INDEX`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from r2p_edge.export.checkpoints.families import Family
from r2p_edge.export.checkpoints.layouts import InceptionLayout, Pool, Triple
from r2p_edge.export.checkpoints.parameter_check import UNKNOWN, ParameterShape
from r2p_edge.export.checkpoints.structure import (
    NORM,
    Conv,
    Mixed,
    Norm,
    Relu,
    Step,
    VideoNetwork,
    frame_channels,
)

_FIRST = (("Conv3d_1a_7x7", 7, 2), ("Conv3d_2b_1x1", 1, 1), ("Conv3d_2c_3x3", 3, 1))
"""The first convolutions: name, size of the kernel, stride."""

_POOLED = ("Conv3d_1a_7x7", "Conv3d_2c_3x3")
"""The convolutions that a pool over height and width follows."""

_BEFORE = {"Mixed_4b": (3, 3, 3), "Mixed_5b": (2, 2, 2)}
"""Kernels of the pools before modules, which halve time, height and width."""

_WINDOW: Triple = (2, 7, 7)
"""Size of the average pool over the last features, whose windows are then averaged."""


def inception_network(
    parameters: Mapping[str, np.ndarray], family: Family, layout: InceptionLayout
) -> VideoNetwork:
    """Return the network that canonically named parameters belong to, of any widths.

    Args:
        parameters: by canonical name.
        family: decides epsilons and paddings.
        layout: its layout.
    """
    return _Builder(parameters, family, layout).network()


class _Builder:
    def __init__(
        self, parameters: Mapping[str, np.ndarray], family: Family, layout: InceptionLayout
    ) -> None:
        self._parameters, self._family, self._layout = parameters, family, layout
        self._rows = dict(layout.rows)
        self._shapes: dict[str, ParameterShape] = {}

    def network(self) -> VideoNetwork:
        inputs = channels = frame_channels(self._parameters.get(f"{_FIRST[0][0]}.conv1.weight"))
        stem: list[Step] = []
        for unit, kernel, stride in _FIRST:
            steps, channels = self._unit(unit, channels, kernel, stride)
            stem += steps
            if unit in _POOLED:
                stem.append(self._pool((1, 3, 3), (1, 2, 2), f"{unit}.pool"))
        blocks = []
        for name, _ in self._layout.modules:
            block, channels = self._mixed(name, channels)
            blocks.append(block)
        before, channels = channels, self._channels("fc")
        self._shapes |= {"fc.weight": (channels, before), "fc.bias": (channels,)}
        return VideoNetwork(
            (),
            tuple(stem),
            tuple(blocks),
            channels,
            self._shapes,
            kind=self._family.network.lower(),
            window=_WINDOW,
            one_place=self._layout.same,
            channels=inputs,
        )

    def _mixed(self, name: str, inputs: int) -> tuple[Mixed, int]:
        before: tuple[Step, ...] = ()
        if kernel := _BEFORE.get(name):
            before = (self._pool(kernel, (2, 2, 2), f"{name}.pool"),)
        branches: list[tuple[Step, ...]] = []
        total = 0
        for branch in range(4):
            steps: list[Step] = []
            if branch == 3:
                steps.append(self._pool((3, 3, 3), (1, 1, 1), f"{name}.{branch}.pool"))
            channels = inputs
            for index, kernel_size in enumerate((1, 3) if branch in (1, 2) else (1,)):
                more, channels = self._unit(f"{name}.{branch}.{index}", channels, kernel_size, 1)
                steps += more
            branches.append(tuple(steps))
            total = UNKNOWN if UNKNOWN in (total, channels) else total + channels
        return Mixed(name, before, tuple(branches)), total

    def _unit(self, unit: str, inputs: int, kernel: int, stride: int) -> tuple[list[Step], int]:
        whole: Triple = (kernel, kernel, kernel)
        step: Triple = (stride, stride, stride)
        parts = [(whole, step)]
        if len(self._rows[unit].split()) > 2:
            parts = [((1, *whole[1:]), (1, *step[1:])), ((kernel, 1, 1), (stride, 1, 1))]
        steps: list[Step] = []
        channels = inputs
        for number, (sizes, strides) in enumerate(parts, 1):
            conv, norm = f"{unit}.conv{number}", f"{unit}.bn{number}"
            before, channels = channels, self._channels(conv)
            steps += [
                Conv(conv, strides, self._layout.same),
                Norm(norm, self._family.eps),
                Relu(norm),
            ]
            self._shapes[f"{conv}.weight"] = (channels, before, *sizes)
            self._shapes |= {f"{norm}.{leaf}": (channels,) for leaf in NORM}
        return steps, channels

    def _pool(self, kernel: Triple, stride: Triple, name: str) -> Pool:
        return Pool(kernel, stride, self._layout.same, name)

    def _channels(self, name: str) -> int:
        value = self._parameters.get(f"{name}.weight")
        return value.shape[0] if value is not None and value.ndim else UNKNOWN
