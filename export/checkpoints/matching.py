"""The search for the family whose names a checkpoint has, under whatever surrounds them.

Structure decides, not a list of wrappers: a layout fits where all its convolutions and norms are
there under one prefix. What is left besides is the classifier, and what a training script saved
around the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.families import FAMILIES, Family, NetworkLayout
from r2p_edge.export.checkpoints.layers import modules_of
from r2p_edge.export.checkpoints.network import block_count, stem_names, unit_names
from r2p_edge.spec.checks import plain

Arrays = Mapping[str, npt.NDArray[np.generic]]

ADVICE = "export other networks from ONNX, or with r2p_edge.export.onnx_from_torch"
"""Ending of an error about a network that is none of these."""


@dataclass
class Fit:
    """The names that a layout has under a prefix.

    Attributes:
        layout, prefix: which and where.
        names: name in the file by canonical name, of what is there.
        missing: names that the layout has and the file has not.
    """

    layout: NetworkLayout
    prefix: str
    names: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def best_fit(parameters: Arrays) -> Fit | None:
    """Return the layout and prefix of which the file has most and lacks least; None for none."""
    layouts: list[NetworkLayout] = []
    for family in FAMILIES.values():
        if family.layout not in layouts:
            layouts.append(family.layout)
    modules = modules_of(parameters)
    fits = [
        _fitted(parameters, layout, prefix)
        for layout in layouts
        for prefix in _prefixes(parameters, layout)
        if prefix + layout.block_name(1, 0) in modules
    ]
    return max(fits, key=lambda fit: (not fit.missing, len(fit.names)), default=None)


def _prefixes(parameters: Arrays, layout: NetworkLayout) -> list[str]:
    """Return what stands before the names of a layout's stem."""
    stem = f"{layout.stem.split()[0]}.weight"
    return [
        name.removesuffix(stem) for name in parameters if name == stem or name.endswith(f".{stem}")
    ]


def _fitted(parameters: Arrays, layout: NetworkLayout, prefix: str) -> Fit:
    fit = Fit(layout, prefix)
    below = (name.removeprefix(prefix) for name in parameters if name.startswith(prefix))
    modules = modules_of(below)
    for number, (native, canonical) in _modules(layout, modules):
        leaves = {"weight": "weight"} if number in (0, 2) else layout.norm
        for own, leaf in leaves.items():
            name = f"{prefix}{native}.{own}"
            if name in parameters:
                fit.names[f"{canonical}.{leaf}"] = name
            else:
                fit.missing.append(name)
        if number in (0, 2) and (name := f"{prefix}{native}.bias") in parameters:
            fit.names[f"{canonical}.bias"] = name
    return fit


def _modules(layout: NetworkLayout, modules: set[str]) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield each convolution and norm: its place in its row, its own name and the canonical one."""
    stem = layout.stem.split()
    yield from enumerate(zip(stem, stem_names(len(stem)), strict=True))
    for stage, _ in enumerate(layout.strides, 1):
        for index in range(block_count(modules, partial(layout.block_name, stage))):
            own, name = layout.block_name(stage, index), f"layer{stage}.{index}"
            rows = [
                (conv, f"{name}.conv{number}", f"{name}.bn{number}")
                for number, conv in enumerate(layout.convs, 1)
            ]
            if f"{own}.{layout.shortcut.split()[0]}" in modules:
                rows.append((layout.shortcut, f"{name}.downsample.0", f"{name}.downsample.1"))
            for row, unit, outer in rows:
                natives = [f"{own}.{part}" for part in row.split()]
                yield from enumerate(
                    zip(natives, unit_names(unit, outer, len(natives)), strict=True)
                )


def find_head(parameters: Arrays, fit: Fit) -> dict[str, str]:
    """Return the classifier: name in the file by canonical name.

    It is the one of the layout's name, else the one matrix that takes the network's features.

    Raises:
        CheckpointError: there is none, there are several, or it has several layers.
    """
    features = parameters[fit.names[_last_norm(fit)]].shape[:1]
    used = set(fit.names.values())
    matrices = {
        name.removesuffix(".weight"): array
        for name, array in parameters.items()
        if name not in used
        and name.endswith(".weight")
        and array.shape[2:] in ((), (1, 1, 1))
        and array.ndim in (2, 5)
    }
    heads = {name: array for name, array in matrices.items() if array.shape[1:2] == features}
    own = [name for name in heads if name in (fit.prefix + fit.layout.head, fit.layout.head)]
    chosen = own or list(heads)
    if not chosen:
        raise CheckpointError(
            "the checkpoint has the network's features and no classifier of them (a matrix of "
            f"{features[0] if features else 0} columns); give the file of the trained classifier"
        )
    if len(chosen) > 1:
        raise CheckpointError(
            f"the checkpoint has several classifiers ({_listed(chosen)}); save the network with "
            "the one that you want"
        )
    (head,) = chosen
    for name, array in matrices.items():
        if name != head and array.shape[1] == heads[head].shape[0]:
            raise CheckpointError(
                f"the classifier has several layers ({plain(head)}, {plain(name)}), and weights do "
                f"not say what is between them; {ADVICE}"
            )
    found = {"fc.weight": f"{head}.weight"}
    if f"{head}.bias" in parameters:
        found["fc.bias"] = f"{head}.bias"
    return found


def _last_norm(fit: Fit) -> str:
    """Return the canonical name of the last norm's weight, which has a number for each feature."""
    names = [name for name in fit.names if name.count(".") == 3 and ".bn" in name]
    return next(name for name in reversed(names) if name.endswith(".weight"))


def left_over(parameters: Arrays, head: Mapping[str, str], fit: Fit) -> list[str]:
    """Return what is neither of the layout nor of what training scripts keep beside a network.

    That is counters and other single numbers, weights of a loss, one for each class, and matrices
    with their biases that the classifier does not take, such as those of another task.
    """
    used = {*fit.names.values(), *head.values()}
    classes = parameters[head["fc.weight"]].shape[:1]
    matrices = {
        name.removesuffix(".weight")
        for name, array in parameters.items()
        if name.endswith(".weight") and array.ndim == 2
    }
    return [
        name
        for name, array in parameters.items()
        if name not in used
        and not name.endswith("num_batches_tracked")
        and (array.size != 1 or array.ndim > 1)
        and array.shape != classes
        and name.rpartition(".")[0] not in matrices
    ]


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


def _listed(names: Sequence[str], shown: int = 6) -> str:
    more = f", and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(plain, names[:shown])) + more
