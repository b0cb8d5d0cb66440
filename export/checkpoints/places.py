"""The places of layers without parameters in a whole module, whose code is not in its file.

Names and shapes of parameters say nothing of a ReLU that was taken away, or of a pool in front of
the network. The modules say it: a Sequential calls its layers in their order, and a class that is
the family's own calls what it has by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.advice import ADVICE
from r2p_edge.export.checkpoints.heads import Head
from r2p_edge.export.checkpoints.layers import Layer, Layers, modules_of
from r2p_edge.export.checkpoints.structure import Conv, Norm, Relu, VideoNetwork
from r2p_edge.spec.checks import plain

_SAME = re.compile(r"Identity|(Feature)?(Alpha)?Dropout[123]?d?")  # change nothing once trained
_RELU = re.compile(r"(?i).*relu\d*")  # last part of a name
_IDLE = re.compile(r"(?i)drop|short|down|skip|branch1")  # where an identity changes nothing
_MEANS = ("AdaptiveAvgPool3d", "AvgPool3d")
_POOL = "MaxPool3d"
_SCORES = ("Softmax", "LogSoftmax", "Flatten")  # what may follow the classifier
_ACTS = ("ReLU", _POOL, *_MEANS, *_SCORES)


class _Part(NamedTuple):
    """Some parameters' modules of a Sequential, or one of its layers without any.

    Attributes:
        name: in the file.
        first, last: places of its first and last module in the order of execution; None for a
            layer without parameters.
    """

    name: str
    first: int | None = None
    last: int | None = None


class _Order:
    """The order in which a family calls its modules, and what it has between them."""

    def __init__(self, network: VideoNetwork, names: Mapping[str, str], head: Head) -> None:
        self.modules: list[str] = []
        self.relu_after: set[int] = set()
        self.block_ends: dict[int, int] = {}  # first module of a block by its last one

        def add(steps: Sequence[object]) -> None:
            for step in steps:
                if isinstance(step, (Conv, Norm)):
                    if f"{step.name}.weight" in names:  # a shortcut may have no parameters
                        self.modules.append(names[f"{step.name}.weight"].rpartition(".")[0])
                elif isinstance(step, Relu):
                    self.relu_after.add(len(self.modules) - 1)

        add(network.stem)
        self.stem_end = len(self.modules) - 1
        for block in network.residual_blocks:
            first = len(self.modules)
            add([*block.steps, *block.shortcut])
            self.block_ends[len(self.modules) - 1] = first
        self.trunk = len(self.modules)
        self.modules += head.modules
        if head.activation == "relu":
            self.relu_after |= set(range(self.trunk, len(self.modules) - 1))
        self.places = {name: place for place, name in enumerate(self.modules)}
        self.pools = any(not isinstance(step, (Conv, Norm, Relu)) for step in network.stem)


def check_places(
    layers: Layers, network: VideoNetwork, names: Mapping[str, str], head: Head
) -> None:
    """Make sure that a whole module has the layers without parameters that its family has.

    Args:
        layers: what the file says of its modules.
        network: what its parameters are taken for.
        names: names of parameters in the file by canonical name.
        head: its classifier.

    Raises:
        CheckpointError: one is missing, one is there that the family has not, or the order of
            layers is another.
    """
    order = _Order(network, names, head)
    children: dict[str, list[str]] = {}
    for name in layers:
        if name:
            children.setdefault(name.rpartition(".")[0], []).append(name)
    rows = {name for name, own in children.items() if name in layers and _is_row(layers[name], own)}
    for name in rows:
        if name.rpartition(".")[0] not in rows or not name:
            _check_row(layers, list(_parts(name, children, rows, order)), order)
    inside = _insides(order)
    for name, layer in layers.items():
        parent, _, own = name.rpartition(".")
        if name and parent not in rows and name not in children and name not in order.places:
            _check_attribute(name, own, layer, parent in inside)


def _is_row(layer: Layer, children: Sequence[str]) -> bool:
    """Tell whether a module calls its layers in their order."""
    if layer.name.startswith(("Module", "Parameter")):  # lists and dicts
        return False
    return layer.name == "Sequential" or all(
        name.rpartition(".")[2].isdecimal() for name in children
    )


def _parts(
    row: str, children: Mapping[str, list[str]], rows: set[str], order: _Order
) -> Iterator[_Part]:
    for name in children[row]:
        if name in rows:
            yield from _parts(name, children, rows, order)
            continue
        places = [
            place
            for module, place in order.places.items()
            if module == name or module.startswith(f"{name}.")
        ]
        if places:
            yield _Part(name, min(places), max(places))
        elif name not in children:
            yield _Part(name)


def _check_row(layers: Layers, parts: Sequence[_Part], order: _Order) -> None:
    if all(part.first is None for part in parts):
        return
    before: _Part | None = None
    between: list[str] = []
    for part in [*parts, None]:
        if part is not None and part.first is None:
            if not _SAME.fullmatch(layers[part.name].name):
                between.append(part.name)
            continue
        if part and before and part.first != _next(before):
            raise CheckpointError(
                f"its layers {plain(before.name)} and {plain(part.name)} follow each other in "
                f"another order than in its family; {ADVICE}"
            )
        _check_gap(layers, before, between, part, order)
        before, between = part, []


def _next(part: _Part) -> int | None:
    """Return the place of the module that the family calls after a part."""
    return None if part.last is None else part.last + 1


def _check_gap(
    layers: Layers, before: _Part | None, between: list[str], after: _Part | None, order: _Order
) -> None:
    """Check what stands between two parts of a row, or at one of its ends."""
    required, allowed = _expected(before, after, order)
    kinds = [layers[name].name for name in between]
    for name, kind in zip(between, kinds, strict=True):
        if kind in _ACTS and (kind not in allowed or (kind in _MEANS and kinds.count(kind) > 1)):
            place = f"behind {plain(before.name)}" if before else "in front"
            raise CheckpointError(
                f"its layer {plain(name)} is {_a(kind)} {place}, where its family has none, and "
                f"with the weights alone it would be left out; {ADVICE}"
            )
    if required and "ReLU" not in kinds:
        assert before is not None
        raise CheckpointError(
            f"it has no ReLU behind its layer {plain(before.name)}, where its family has one; "
            f"{ADVICE}"
        )


def _expected(
    before: _Part | None, after: _Part | None, order: _Order
) -> tuple[bool, tuple[str, ...]]:
    """Return whether a ReLU has to be between two parts, and all that may be."""
    if after is not None and after.first == order.trunk:  # the features are not negative
        return False, ("ReLU", *_MEANS, "Flatten")
    if before is None or before.first is None or before.last is None:
        return False, ()
    if before.last == len(order.modules) - 1:
        return False, _SCORES
    if before.first == before.last and before.last in order.relu_after:
        pool = before.last == order.stem_end and order.pools
        return True, ("ReLU", _POOL) if pool else ("ReLU",)
    if before.last == order.stem_end and before.first == 0:
        return False, ("ReLU", _POOL) if order.pools else ("ReLU",)
    if order.block_ends.get(before.last, -1) >= before.first:  # a whole block, whose end is one
        ends = before.last == order.trunk - 1 and after is None
        return False, ("ReLU", *_MEANS, "Flatten") if ends else ("ReLU",)
    return False, ()


def _insides(order: _Order) -> set[str]:
    """Return the modules around those of the stem and the blocks, but not around all of them."""
    trunk = order.modules[: order.trunk]
    around_all = set[str].intersection(*(modules_of([name]) for name in trunk))
    return modules_of(trunk) - around_all


def _check_attribute(name: str, own: str, layer: Layer, inside: bool) -> None:
    """Check a layer that a class has by a name of its own."""
    same = _SAME.fullmatch(layer.name) is not None
    if layer.name != "ReLU" and (same or layer.name in _ACTS) and _RELU.fullmatch(own):
        raise CheckpointError(
            f"its layer {plain(name)} is {_a(layer.name)} and no ReLU, as it is in its family; "
            f"{ADVICE}"
        )
    if inside and (
        layer.name in (*_MEANS, *_SCORES) or (layer.name == "Identity" and not _IDLE.search(own))
    ):
        raise CheckpointError(
            f"its layer {plain(name)} is {_a(layer.name)}, which its family has not there; {ADVICE}"
        )


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'AI' else 'a'} {kind}"
