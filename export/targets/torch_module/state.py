"""The parameters of a checkpoint under the names that a module has for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.matching import Arrays
from r2p_edge.spec.checks import plain

_PREFIXES = ("module", "model", "net", "_orig_mod", "backbone")
_DEPTH = 4  # the most prefixes, one before another
_SHOWN = 4  # names of each kind in a message
_UNUSED = ("num_batches_tracked", "n_averaged")  # counters that no answer depends on


class _Fit(NamedTuple):
    """How the names of a file fit those of a module.

    Attributes:
        names: names of the file by those of the module that have the same shape.
        missing, unexpected: names of the module, and of the file, without a partner.
        reshaped: pairs of names, the module's first, whose shapes differ.
    """

    names: dict[str, str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[tuple[str, str]]

    @property
    def faults(self) -> int:
        """Number of names that do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.reshaped)


def fitted_state(
    found: Arrays, wanted: Mapping[str, tuple[int, ...]], *, file: str, module: str
) -> dict[str, npt.NDArray[np.generic]]:
    """Return the parameters of a file by the names that a module has for them.

    What wrappers put before the names is peeled off, in the file or in the module, where the names
    fit better without it.

    Args:
        found: the file's parameters.
        wanted: shapes of the module's parameters and buffers.
        file, module: names of both, for the error.

    Raises:
        CheckpointError: a name is missing, is left over, or has another shape.
    """
    fits = (
        _fit(found, ours, wanted, theirs)
        for theirs in _peelings(wanted)
        for ours in _peelings(found)
    )
    best = min(fits, key=lambda fit: fit.faults)
    if best.faults:
        raise CheckpointError(_complaint(best, found, wanted, file, module))
    return {name: found[other] for name, other in best.names.items()}


def _peelings(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the names by what is left of them without the prefixes of wrappers."""
    current = {name: name for name in names if name.split(".")[-1] not in _UNUSED}
    yield current
    compiled = {_without(name, "_orig_mod"): full for name, full in current.items()}
    if len(compiled) == len(current) and compiled != current:
        current = compiled
        yield current
    for _ in range(_DEPTH):
        firsts = [name.partition(".")[0] for name in current]
        first = max(_PREFIXES, key=firsts.count)
        if 2 * firsts.count(first) <= len(firsts):
            return
        peeled = {name.removeprefix(f"{first}."): full for name, full in current.items()}
        if len(peeled) < len(current):
            return
        current = peeled
        yield current


def _without(name: str, part: str) -> str:
    return ".".join(each for each in name.split(".") if each != part)


def _fit(
    found: Arrays,
    ours: Mapping[str, str],
    wanted: Mapping[str, tuple[int, ...]],
    theirs: Mapping[str, str],
) -> _Fit:
    pairs = {theirs[name]: ours[name] for name in theirs.keys() & ours.keys()}
    return _Fit(
        {name: other for name, other in pairs.items() if found[other].shape == wanted[name]},
        [full for name, full in theirs.items() if name not in ours],
        [full for name, full in ours.items() if name not in theirs],
        [(name, other) for name, other in pairs.items() if found[other].shape != wanted[name]],
    )


def _complaint(
    fit: _Fit, found: Arrays, wanted: Mapping[str, tuple[int, ...]], file: str, module: str
) -> str:
    """Return what does not fit, in a few lines."""
    shapes = [
        f"{plain(other)} {found[other].shape} where the module has {wanted[name]}"
        for name, other in sorted(fit.reshaped)
    ]
    kinds = {
        "missing": list(map(plain, fit.missing)),
        "unexpected": list(map(plain, fit.unexpected)),
        "of other shapes": shapes,
    }
    said = [
        f"{len(names)} {kind} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
        for kind, names in kinds.items()
        if names
    ]
    return (
        f"{file} is not of {module}, which has {len(wanted)} parameters and buffers: "
        f"{'; '.join(said)}; give the arguments of its training with --args, or the weights of "
        "this network alone"
    )
