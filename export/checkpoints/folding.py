"""Weights that PyTorch stores in parts: pruned, and with weight or spectral norm, folded into one.

Source: pytorch/pytorch torch/nn/utils/prune.py, weight_norm.py, spectral_norm.py and
parametrizations.py, version 2.13. In evaluation spectral norm uses the vectors that it has stored.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import CheckpointError
from r2p_edge.spec.checks import plain

_Arrays = Mapping[str, npt.NDArray[np.generic]]

_NEW = ".parametrizations."


def folded(parameters: _Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Return parameters with one array in place of the parts of each.

    The whole has the name that it has in a module without them, and the place of its first part.
    Products are computed in float64 and rounded once.

    Raises:
        CheckpointError: a weight is in parts that cannot be put together.
    """
    stored = _stored(parameters)
    wholes = {name: whole for whole, parts in stored.items() for name in parts.values()}
    result: dict[str, npt.NDArray[np.generic]] = {}
    for name, array in parameters.items():
        whole = wholes.get(name)
        if whole is None:
            result[name] = array
        elif whole not in result:
            names = stored[whole]
            parts = {key: np.asarray(parameters[name], np.float64) for key, name in names.items()}
            try:
                with np.errstate(all="ignore"):  # what is not a number is named later
                    result[whole] = _put_together(parts).astype(np.float32)
            except ValueError as error:
                some = ", ".join(map(plain, list(names.values())[:4]))
                raise CheckpointError(
                    f"{plain(whole)} is stored in parts that make no weight ({some}); remove the "
                    "norm, pruning or parametrization in PyTorch and save the state_dict again"
                ) from error
    return result


def _stored(parameters: _Arrays) -> dict[str, dict[str, str]]:
    """Return what is stored in parts: the names of its parts by their own ("orig", "mask")."""
    found: dict[str, dict[str, str]] = {}
    for name in parameters:
        module, new, rest = name.rpartition(_NEW)
        if new and "." in rest:
            leaf, _, part = rest.partition(".")
            found.setdefault(f"{module}.{leaf}", {})[part] = name
        elif name.endswith("_orig") or (name.endswith("_g") and f"{name[:-1]}v" in parameters):
            whole = name.rpartition("_")[0]
            old = {part: f"{whole}_{part}" for part in ("orig", "mask", "u", "v", "g")}
            found[whole] = {part: own for part, own in old.items() if own in parameters}
    return found


def _put_together(parts: dict[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    keys = parts.keys()
    if keys == {"orig", "mask"} and parts["orig"].shape == parts["mask"].shape:
        return parts["orig"] * parts["mask"]
    if keys == {"g", "v"}:
        return _with_norm(parts["g"], parts["v"])
    if keys == {"original0", "original1"}:
        return _with_norm(parts["original0"], parts["original1"])
    if keys == {"orig", "u", "v"}:
        return _over_largest(parts["orig"], parts["u"], parts["v"])
    if keys == {"original", "0._u", "0._v"}:
        return _over_largest(parts["original"], parts["0._u"], parts["0._v"])
    raise ValueError("other parts")


def _with_norm(
    norm: npt.NDArray[np.float64], direction: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return a weight of that direction and norm, which has an axis of one where it was taken."""
    if norm.ndim not in (0, direction.ndim):
        raise ValueError("axes")
    axes = tuple(axis for axis in range(direction.ndim) if norm.ndim == 0 or norm.shape[axis] == 1)
    length = np.sqrt(np.square(direction).sum(axis=axes, keepdims=True))
    if norm.ndim and norm.shape != length.shape:
        raise ValueError("shapes")
    whole: npt.NDArray[np.float64] = direction * (norm / length)
    return whole


def _over_largest(
    weight: npt.NDArray[np.float64],
    left: npt.NDArray[np.float64],
    right: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return a weight over its largest singular value, as the two vectors give it."""
    matrix = weight.reshape(len(weight), -1)
    return weight / float(left @ (matrix @ right))
