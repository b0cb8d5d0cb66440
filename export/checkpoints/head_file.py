"""Classifiers in files of their own, for networks that have none or another one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.errors import CheckpointError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.npz_file import read_arrays

MODULE = "head_file"
"""Module below which the parameters of such a file are put."""

_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".ckpt")
_WANTED = "give weight (classes x features) and bias (classes), as numpy.savez(FILE, weight=..., "
_WANTED += "bias=...) or torch.save(layer.state_dict(), FILE) writes them"


class HeadFile(NamedTuple):
    """A classifier that was read from a file.

    Attributes:
        parameters: by their names in the file, below `MODULE`.
        record: {"file", "sha256"}, for the artifact's record of its source.
    """

    parameters: dict[str, npt.NDArray[np.generic]]
    record: dict[str, str]


def names_head_file(head: str) -> bool:
    """Return whether a `--head` is the name of a file, and not of a module."""
    return Path(head).suffix.lower() in _SUFFIXES


def read_head_file(path: Path) -> HeadFile:
    """Read a classifier: one layer, or several, each a matrix `weight` and perhaps a `bias`.

    Args:
        path: `.npz` of NumPy's, or a checkpoint of PyTorch's, of safetensors or of MindSpore's.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it cannot be read, or has no matrix of that name.
    """
    if path.suffix.lower() == ".npz":
        arrays = read_arrays(path, "head", _WANTED)
        record = {"file": path.name, "sha256": sha256_of_file(path)}
    else:
        read = read_checkpoint(path)
        arrays, record = read.parameters, {"file": read.file, "sha256": read.sha256}
    layers = [name for name, array in arrays.items() if array.ndim == 2 and _leaf(name) == "weight"]
    odd = [
        name
        for name, array in arrays.items()
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all()
    ]
    if not layers or odd:
        found = f"{odd[0]} is no array of finite numbers" if odd else "there is no matrix weight"
        raise CheckpointError(f"head {path.name}: {found}; {_WANTED}")
    parameters: dict[str, npt.NDArray[np.generic]] = {
        f"{MODULE}.{name}": array.astype(np.float32) for name, array in arrays.items()
    }
    return HeadFile(parameters, record)


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
