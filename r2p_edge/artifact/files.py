"""Files that make up a model, and their fingerprints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from r2p_edge.artifact import openvino_ir
from r2p_edge.errors import ModelError, unreadable_model


def files_of(path: Path) -> list[Path]:
    """Return the files that make up the model at `path`, that one first, without its sidecar.

    Raises:
        ModelError: an OpenVINO file has no weights beside it, or is not an OpenVINO file.
        OSError: the folder cannot be read.
    """
    if path.suffix.lower() != ".xml":
        return [path]
    weights = openvino_ir.weights_path(path)
    if not weights.is_file():
        openvino_ir.describe(path)  # a file of another kind says so first
        raise ModelError(
            f"{path} has no weights: there is no {weights.name} beside it; copy both files"
        )
    return [path, weights]


def sha256_of_file(path: Path) -> str:
    """Return the hexadecimal sha256 of a file, which is read in pieces.

    Raises:
        OSError: the file cannot be read.
    """
    return sha256_of_files([path])


def sha256_of_model(path: Path) -> str:
    """Return the hexadecimal sha256 of a model, of all its files one after the other.

    Raises:
        ModelError: a file is gone, or cannot be read.
    """
    try:
        return sha256_of_files(files_of(path))
    except OSError as error:
        raise unreadable_model(path, error) from error


def sha256_of_files(paths: Iterable[Path]) -> str:
    """Return the hexadecimal sha256 of several files, one after the other.

    Raises:
        OSError: a file cannot be read.
    """
    import hashlib

    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def fingerprint_of_bytes(content: bytes) -> dict[str, Any]:
    """Return {"size", "sha256"} of the bytes of a file."""
    import hashlib

    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def fingerprint(file: Path) -> dict[str, Any]:
    """Return {"size", "sha256"} of a file, as sidecars and manifests record them.

    Raises:
        OSError: the file cannot be read.
    """
    return {"size": file.stat().st_size, "sha256": sha256_of_file(file)}
