"""Files that no model is made from: results, and models of other frameworks."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from r2p_edge.errors import ModelError, unreadable_model
from r2p_edge.export.foreign_formats import ARCHIVE_OF_ARRAYS, CAFFE, KERAS, ForeignFormat
from r2p_edge.export.foreign_parts import (
    JOIN_SAFETENSORS,
    JOIN_TORCH,
    lacks_parts,
    missing_parts,
)
from r2p_edge.export.recognition import HEAD, foreign_format

NO_ORDINARY_FILE = (
    "no ordinary file, but a pipe or a device; write the model to a file, and give that"
)
"""Words about a path that is there, and neither a file nor a folder."""

MODEL_SUFFIXES = (
    *(".pth", ".pt", ".pyth", ".pt2", ".ckpt", ".safetensors", ".onnx", ".pkl", ".tar", ".bin"),
)
"""Suffixes of the files that models are often kept in."""


_INDEX = 1 << 24  # bytes of an index; that of a large model has a million
_LISTED = re.compile(rb'"([\w.-]{1,200}-\d{5}-of-\d{5}\.\w{1,20})"')


def refuse_foreign(path: Path) -> None:
    """Raise an error for a file that is no checkpoint and no ONNX model, saying what it is.

    Raises:
        ModelError: it is a result for one runtime, a model of another framework, or an archive.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        found = foreign_format(head, path.name)
        # A pickle of this name is Caffe2's by the key of all its arrays.
        if found is None and path.suffix.lower() == ".pkl" and b"blobs" in head:
            found = CAFFE
        if found is None and head.startswith(b"PK"):
            found = _foreign_archive(path)
        if found is not None and found.way in (JOIN_SAFETENSORS, JOIN_TORCH):
            _require_parts(path)
    except OSError as error:
        raise unreadable_model(path, error) from error
    if found is not None:
        raise ModelError(f"{path} is {found.what}; {found.way_from(path)}")


def _require_parts(path: Path) -> None:
    """Raise ModelError where parts of the model that a file belongs to are not beside it."""
    with path.open("rb") as file:
        listed = _LISTED.findall(file.read(_INDEX)) if path.suffix == ".json" else []
    there = {entry.name for entry in path.parent.iterdir()}
    named = {name.decode() for name in listed} or {path.name}
    if missing := missing_parts(named, there):
        kind = "an index of a model" if listed else "a part of a model"
        raise ModelError(f"{path} is {kind} {lacks_parts(missing, path.parent)}")


def _foreign_archive(path: Path) -> ForeignFormat | None:
    """Return the format of a zip archive with files of models that is none of PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None  # the reader of checkpoints says what is wrong with it
    if any(name.endswith(("data.pkl", "/version", ".data/version")) for name in names):
        return None
    if {"metadata.json", "config.json"} <= set(names):
        return KERAS
    if names and all(name.endswith(".npy") for name in names):
        return ARCHIVE_OF_ARRAYS
    inside = next((name for name in names if name.lower().endswith(MODEL_SUFFIXES)), None)
    if inside is None:
        return None
    return ForeignFormat(f"a zip archive of {inside}", "unpack it, and give that file")
