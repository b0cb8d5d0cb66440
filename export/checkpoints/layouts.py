"""Layouts, of which families are made: the structure of networks, and the names of modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Triple = tuple[int, int, int]


class Pool(NamedTuple):
    """A max pool over time, height and width.

    Attributes:
        kernel, stride: in time, height and width.
        same: as in `InceptionLayout`; else each side is padded by half of what a kernel has
            beside its middle.
        name: of its output.
    """

    kernel: Triple
    stride: Triple
    same: bool = False
    name: str = "stem.pool"


TORCH = {name: name for name in ("weight", "bias", "running_mean", "running_var")}
"""Canonical names of a batch norm's parameters by PyTorch's."""

# nn.BatchNorm3d wraps a BatchNorm2d called bn2d (mindspore/nn/layer/normalization.py, still so
# in 2.10); convolutions and dense layers call their parameters as torch does.
MINDSPORE = {
    "bn2d.gamma": "weight",
    "bn2d.beta": "bias",
    "bn2d.moving_mean": "running_mean",
    "bn2d.moving_variance": "running_var",
}
"""The same by MindSpore's."""


@dataclass(frozen=True)
class NetworkLayout:
    """The structure of networks and the names of their modules.

    Attributes:
        stem: names of the stem.
        convs: names of each convolution of a block, below the block's.
        shortcut: names of a block's shortcut, where it has one; "" if it has no parameters: every
            second number, and zeros for the channels that are more.
        block: name of a block; {stage} counts from 1 and {index} from 0, {next} and {before} are
            one more and one less.
        first: name of the first block of a stage, if it is another.
        norm: canonical names of a batch norm's parameters by its own.
        time_first: True if the half in time of a (2+1)D convolution comes first.
        strides: of each stage's first block, in time and space.
        idle: names of pools that a module of the family has and does not use.
        stem_lengths: moments of the stem's kernel in time, of those that the family's code makes;
            empty where it makes any, and pads by half of it.
        kernels: size in space of each convolution of a block, if each is one kernel over time and
            space (R3D, MC3); empty if those of several names are of two halves.
    """

    stem: str
    convs: tuple[str, ...]
    shortcut: str
    block: str = "layer{stage}.{index}"
    first: str = ""
    norm: Mapping[str, str] = field(default_factory=lambda: TORCH)
    time_first: bool = False
    strides: tuple[tuple[int, int], ...] = ((1, 1), (2, 2), (2, 2), (2, 2))
    idle: tuple[str, ...] = ()
    stem_lengths: tuple[int, ...] = (3,)
    kernels: tuple[int, ...] = ()

    @property
    def convolutions(self) -> tuple[int, ...]:
        """Places of convolutions in a row of names; norms have the others."""
        return (0,) if self.kernels else (0, 2)

    @property
    def strided(self) -> int:
        """Index of the convolution that has the stride of a stage."""
        sizes = self.kernels or tuple(len(conv.split()) - 1 for conv in self.convs)
        return next(index for index, size in enumerate(sizes) if size > 1)

    def block_name(self, stage: int, index: int) -> str:
        """Return the name of a block."""
        name = self.first if self.first and index == 0 else self.block
        return name.format(stage=stage, next=stage + 1, index=index, before=index - 1)

    def stage_name(self, stage: int) -> str:
        """Return the name of the module around all blocks of a stage."""
        before, number, _ = self.block.partition("}")
        return f"{before}{number}".format(stage=stage, next=stage + 1)

    def first_modules(self) -> list[str]:
        """Return the names of the modules of the stem and of the first block."""
        block = self.block_name(1, 0)
        return [
            *self.stem.split(),
            *(f"{block}.{part}" for row in self.convs for part in row.split()),
        ]

    def insides(self) -> set[str]:
        """Return the modules within which all that is there is the network's."""
        # A stem of several modules may be one itself, whose name is before theirs.
        stem = {module.rpartition(".")[0] or module for module in self.stem.split()}
        return stem | {self.stage_name(stage) for stage in range(1, len(self.strides) + 1)}


@dataclass(frozen=True)
class InceptionLayout:
    """The names of the modules of an inception network, all of which have the same structure.

    Attributes:
        rows: names of each convolution and its norm, or of two halves in space and time with a
            norm after each, by the convolution's canonical name (see `inception`).
        modules: names of the modules of four branches, by their canonical names.
        same: True if each side is padded as TensorFlow's "SAME" does, by what the size needs, with
            the odd one at the end.
        norm: canonical names of a batch norm's parameters by its own.
        idle: names of pools that a module of the family has and does not use.
    """

    rows: tuple[tuple[str, str], ...]
    modules: tuple[tuple[str, str], ...]
    same: bool
    norm: Mapping[str, str] = field(default_factory=lambda: TORCH)
    idle: tuple[str, ...] = ()

    @property
    def convolutions(self) -> tuple[int, ...]:
        """Places of convolutions in a row of names; norms have the others."""
        return (0, 2)

    @property
    def stem(self) -> str:
        """Names of the first convolution."""
        return self.rows[0][1]

    def block_name(self, stage: int, index: int) -> str:
        """Return the name of the first module of branches, whatever is asked."""
        return self.modules[0][1]

    def first_modules(self) -> list[str]:
        """Return the names of the convolutions and norms up to the end of the first module."""
        first = self.modules[0][0]
        rows = [row for unit, row in self.rows if unit.startswith((first, "Conv3d"))]
        return [part for row in rows for part in row.split()]

    def insides(self) -> set[str]:
        """Return the modules within which all that is there is the network's."""
        first = {row.split()[0] for unit, row in self.rows if unit.startswith("Conv3d")}
        return {name for _, name in self.modules} | {name.rpartition(".")[0] for name in first}

    def ends(self) -> list[str]:
        """Return the canonical names of the last norms, whose channels are the features."""
        last = self.modules[-1][0]
        counts = {unit: len(row.split()) // 2 for unit, row in self.rows}
        units = [f"{last}.{branch}" for branch in ("0.0", "1.1", "2.1", "3.0")]
        return [f"{unit}.bn{counts[unit]}" for unit in units]


AnyLayout = NetworkLayout | InceptionLayout
"""The layout of any network."""
