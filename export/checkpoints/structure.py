"""The structure of a network as steps: what graphs, the reference and training are built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from r2p_edge.export.checkpoints.layouts import TORCH, Pool, Triple
from r2p_edge.export.checkpoints.parameter_check import ParameterShape

HALVES = "r2plus1d"
"""Kind of the networks whose kernels are halves in space and time."""

_DEPTHS: dict[tuple[int, tuple[int, ...]], int] = {
    (2, (2, 2, 2, 2)): 18,
    (2, (3, 4, 6, 3)): 34,
    (3, (3, 4, 6, 3)): 50,
    (3, (3, 4, 23, 3)): 101,
    (3, (3, 8, 36, 3)): 152,
    (3, (3, 24, 36, 3)): 200,
}
"""The published depths, by the convolutions of a block and the blocks of each stage."""

NORM = tuple(TORCH)
"""Canonical names of a batch norm's parameters."""


class Conv(NamedTuple):
    """A convolution, padded by half its kernel, or as `InceptionLayout.same` says."""

    name: str
    stride: Triple
    same: bool = False


class Norm(NamedTuple):
    """A batch norm."""

    name: str
    eps: float


class Relu(NamedTuple):
    """A ReLU after the module of that name."""

    after: str


Step = Conv | Norm | Relu | Pool


@dataclass(frozen=True)
class Block:
    """A residual block: the ReLU of the sum of two paths, or the sum.

    Attributes:
        name: such as "layer2.0".
        steps: of the longer path.
        shortcut: steps of the shorter path; none if it is the identity.
        relu: False if the sum is the end of the block.
    """

    name: str
    steps: tuple[Step, ...]
    shortcut: tuple[Step, ...]
    relu: bool = True


@dataclass(frozen=True)
class Mixed:
    """A module of an inception network: what its branches give, side by side.

    Attributes:
        name: such as "Mixed_3b".
        before: steps before it.
        branches: steps of each.
    """

    name: str
    before: tuple[Step, ...]
    branches: tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class VideoNetwork:
    """The structure of a video network: a ResNet, such as R(2+1)D, or an inception network.

    Attributes:
        counts: blocks in each of the four stages of a ResNet.
        stem: steps before the blocks.
        blocks: in the order of execution.
        classes: number of outputs.
        shapes: shape of every parameter by its canonical name, in the order of execution.
        hidden: names of the layers between the mean over time and space and the classifier, a
            ReLU after each.
        features: as in `Family`.
        kind: such as "r2plus1d", "r3d", "mc3", "r2plus3d" or "i3d".
        window: size of an average pool before the mean over time and space, of steps of one; None
            for none.
        one_place: True if the window has to take all height and width.
        channels: of a frame: 3 of colours, or 2 of optical flow.
    """

    counts: tuple[int, ...]
    stem: tuple[Step, ...]
    blocks: tuple[Block | Mixed, ...]
    classes: int
    shapes: Mapping[str, ParameterShape]
    hidden: tuple[str, ...] = ()
    features: Triple | None = None
    kind: str = HALVES
    window: Triple | None = None
    one_place: bool = False
    channels: int = 3

    @property
    def arch(self) -> str:
        """Name such as "r2plus1d_34"; unpublished block counts are spelled "r2plus1d_1-2-2-1".

        Several block counts have the same depth, so only the published ones are named by it.
        """
        if not self.counts:
            return self.kind
        convs = len({name for name in self.shapes if name.startswith("layer1.0.bn")}) // len(NORM)
        depth = _DEPTHS.get((convs, self.counts)) or "-".join(map(str, self.counts))
        return f"{self.kind}_{depth}"

    @property
    def reduction(self) -> tuple[int, int]:
        """How often the steps halve time and space, as factors."""
        time, space, _ = strides_of(self._path())
        return time, space

    def features_of(self, clip: Triple) -> Triple:
        """Return the size of the last features of a clip of T x H x W."""
        return size_after(self._path(), clip)

    @property
    def residual_blocks(self) -> tuple[Block, ...]:
        """The blocks of a ResNet; none of an inception network."""
        return tuple(block for block in self.blocks if isinstance(block, Block))

    def _path(self) -> list[Step]:
        found = list(self.stem)
        for block in self.blocks:
            if isinstance(block, Block):
                found += block.steps
            else:
                found += [*block.before, *block.branches[0]]
        return found


def frame_channels(weight: np.ndarray | None) -> int:
    """Return the channels of a frame that a first convolution takes: 2 of flow, else 3.

    Any other number is an error of three, which the check of the parameters tells.
    """
    return 2 if weight is not None and weight.ndim == 5 and weight.shape[1] == 2 else 3


def size_after(steps: Sequence[Step], clip: Triple) -> Triple:
    """Return the size, T x H x W, of what steps make of a clip."""
    for step in steps:
        if isinstance(step, (Conv, Pool)):
            # A pool of even size leaves out what is over, where nothing pads it by that.
            cut = step.kernel if isinstance(step, Pool) and not step.same else (1, 1, 1)
            sides = zip(clip, step.stride, cut, strict=True)
            time, height, width = (
                (side - 1 - (size % 2 == 0)) // stride + 1 for side, stride, size in sides
            )
            clip = time, height, width
    return clip


def strides_of(steps: Sequence[Step]) -> Triple:
    """Return the strides of steps together."""
    total = [1, 1, 1]
    for step in steps:
        if isinstance(step, (Conv, Pool)):
            total = [before * own for before, own in zip(total, step.stride, strict=True)]
    return total[0], total[1], total[2]
