"""The search for the family whose names a checkpoint has, under whatever surrounds them.

Structure decides, not a list of wrappers: a layout fits where all its convolutions and norms are
there under one prefix. What is left besides is the classifier, and what a training script saved
around the network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from r2p_edge.export.checkpoints.families import FAMILIES, Family
from r2p_edge.export.checkpoints.layers import modules_of
from r2p_edge.export.checkpoints.layouts import AnyLayout, InceptionLayout, NetworkLayout
from r2p_edge.export.checkpoints.network import block_count, stem_names, unit_names

Arrays = Mapping[str, npt.NDArray[np.generic]]

COUNTER = "num_batches_tracked"
"""Name of a batch norm's counter in PyTorch, which nothing computes with."""

_AXES = 5  # of a convolution over time and space; images' networks have the same names
_BLOCK = re.compile(r"layer(\d)\.(\d+)\.")  # of a canonical name


@dataclass
class Fit:
    """The names that a layout has under a prefix.

    Attributes:
        layout, prefix: which and where.
        names: name in the file by canonical name, of what is there.
        missing: names that the layout has and the file has not.
    """

    layout: AnyLayout
    prefix: str
    names: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def is_block(self, name: str) -> bool:
        """Tell whether a module of the file is one of the blocks."""
        found = (_BLOCK.match(canonical) for canonical in self.names)
        return name in {
            self.prefix + self.layout.block_name(int(block[1]), int(block[2]))
            for block in found
            if block
        }


def best_fit(fits: Sequence[Fit]) -> Fit | None:
    """Return the layout and prefix of which the file has most and lacks least; None for none."""
    return max(fits, key=lambda fit: (not fit.missing, len(fit.names)), default=None)


def fits_of(parameters: Arrays) -> list[Fit]:
    """Return each layout whose stem and first block are in the file, under each prefix."""
    layouts: list[AnyLayout] = []
    for family in FAMILIES.values():
        if family.layout not in layouts:
            layouts.append(family.layout)
    modules = modules_of(parameters)
    return [
        _fitted(parameters, layout, prefix)
        for layout in layouts
        for prefix in _prefixes(parameters, layout)
        if prefix + layout.block_name(1, 0) in modules
    ]


def _prefixes(parameters: Arrays, layout: AnyLayout) -> list[str]:
    """Return what stands before the names of a layout's stem."""
    stem = f"{layout.stem.split()[0]}.weight"
    return [
        name.removesuffix(stem)
        for name, array in parameters.items()
        if array.ndim == _AXES and (name == stem or name.endswith(f".{stem}"))
    ]


def _fitted(parameters: Arrays, layout: AnyLayout, prefix: str) -> Fit:
    fit = Fit(layout, prefix)
    below = (name.removeprefix(prefix) for name in parameters if name.startswith(prefix))
    modules = modules_of(below)
    found = (
        _inception_modules(layout)
        if isinstance(layout, InceptionLayout)
        else _modules(layout, modules)
    )
    for number, (native, canonical) in found:
        convolution = number in layout.convolutions
        leaves = {"weight": "weight"} if convolution else layout.norm
        for own, leaf in leaves.items():
            name = f"{prefix}{native}.{own}"
            if name in parameters:
                fit.names[f"{canonical}.{leaf}"] = name
            else:
                fit.missing.append(name)
        if convolution and (name := f"{prefix}{native}.bias") in parameters:
            fit.names[f"{canonical}.bias"] = name
    return fit


def _inception_modules(layout: InceptionLayout) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the same as `_modules`."""
    for unit, row in layout.rows:
        names = [f"{unit}.{part}" for part in ("conv1", "bn1", "conv2", "bn2")]
        yield from enumerate(zip(row.split(), names, strict=False))


def _modules(layout: NetworkLayout, modules: set[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield each convolution and norm: its place in its row, its own name and the canonical one."""
    stem = layout.stem.split()
    yield from enumerate(zip(stem, stem_names(len(stem)), strict=True))
    for stage, strides in enumerate(layout.strides, 1):
        for index in range(block_count(modules, partial(layout.block_name, stage))):
            own, name = layout.block_name(stage, index), f"layer{stage}.{index}"
            rows = [
                (conv, f"{name}.conv{number}", f"{name}.bn{number}")
                for number, conv in enumerate(layout.convs, 1)
            ]
            first, *_ = layout.shortcut.split() or [""]
            strided = index == 0 and strides != (1, 1)
            if first and (strided or f"{own}.{first}" in modules):
                rows.append((layout.shortcut, f"{name}.downsample.0", f"{name}.downsample.1"))
            for row, unit, outer in rows:
                natives = [f"{own}.{part}" for part in row.split()]
                yield from enumerate(
                    zip(natives, unit_names(unit, outer, len(natives), layout), strict=True)
                )


def nearest_family(parameters: Arrays) -> tuple[Family, list[str]] | None:
    """Return the family that has most of its first modules in a file, and those that are not there.

    The modules are those of the stem and of the first block, under any prefix. None if the file
    has few of any.
    """
    ends = set()
    for name in parameters:
        parts = name.split(".")[:-1]
        ends |= {".".join(parts[-count:]) for count in range(1, min(len(parts), _PARTS) + 1)}
    found: tuple[int, Family, list[str]] | None = None
    for family in FAMILIES.values():
        modules = family.layout.first_modules()
        lacking = [module for module in modules if module not in ends]
        there = len(modules) - len(lacking)
        if there >= _MOST * len(modules) and (found is None or there > found[0]):
            found = there, family, lacking
    return None if found is None else found[1:]


_MOST = 0.8  # of a family's first modules; plain ResNets have 9 of 12 of some
_PARTS = 8  # of a module's name below a family's prefix; the most are 7


def foreign_within(fit: Fit, parameters: Arrays) -> list[str]:
    """Return what the file has within the stem and the stages that is not of the layout.

    Whatever it is, it changes what the network computes; counters of batch norms do not.
    """
    used = set(fit.names.values())
    below = tuple(f"{fit.prefix}{inside}." for inside in fit.layout.insides())
    return [
        name
        for name in parameters
        if name.startswith(below) and name not in used and not name.endswith(COUNTER)
    ]


def features_of(fit: Fit, parameters: Arrays) -> int:
    """Return how many numbers the network gives its classifier."""
    if isinstance(fit.layout, InceptionLayout):
        return sum(parameters[fit.names[f"{name}.weight"]].size for name in fit.layout.ends())
    names = [name for name in fit.names if name.count(".") == 3 and ".bn" in name]
    last = next(name for name in reversed(names) if name.endswith(".weight"))
    return parameters[fit.names[last]].size


def families_of(fit: Fit, parameters: Arrays) -> list[Family]:
    """Return the families of a layout whose channels in the middle of convolutions fit."""
    first, second = (
        parameters.get(fit.names.get(f"layer2.0.conv{number}.conv1.weight", ""))
        for number in (1, 2)
    )
    differ = first is not None and second is not None and first.shape[:1] != second.shape[:1]
    middle = "conv" if differ else "block"
    return [
        family
        for family in FAMILIES.values()
        if family.layout is fit.layout and family.middle in (None, middle)
    ]
