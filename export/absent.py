"""Sources of an export that are no file: addresses, names of other places, links and devices."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path, PurePosixPath

from r2p_edge.addresses import without_password
from r2p_edge.errors import ModelError, ModelNotFoundError, similar_name
from r2p_edge.export.foreign_files import NO_ORDINARY_FILE
from r2p_edge.export.foreign_formats import TENSORFLOW_PARTS
from r2p_edge.export.published.registry import PublishedWeights, Registry

# `Path` makes one slash of two.
_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+):/{1,3}(?P<rest>[^/].*)", re.IGNORECASE)
_HUB = re.compile(r"[\w-]+/[\w.-]+")  # OWNER/NAME of Hugging Face
_LIKE = 0.8  # of a file's name: a typing error, and not another file
_LISTED = 10_000  # names of a folder that are compared with one that is not there


def absent_source(source: str | Path, registry: Registry) -> ModelError:
    """Return the error to raise for a source that is no file, no folder and no ID of the registry.

    Args:
        source: what the caller gave.
        registry: the published weights, whose IDs may have been meant.
    """
    path, text = Path(source), str(source)
    if found := _ADDRESS.fullmatch(text):
        return ModelNotFoundError(_of_address(found["scheme"].lower(), found["rest"], registry))
    if os.path.exists(path):  # the pipe of <(...) is a link to no path
        return ModelError(f"{path} is {NO_ORDINARY_FILE}")
    if os.path.islink(path):
        return ModelNotFoundError(
            f"{path} is a link to {path.readlink()}, which is not there; bring that file back, "
            "or give another"
        )
    if os.path.exists(f"{text}.index"):
        return ModelNotFoundError(
            f"{path} is the name before {path.name}.index, {TENSORFLOW_PARTS.what}; "
            f"{TENSORFLOW_PARTS.way}"
        )
    hint = _hint(path, text, registry)
    return ModelNotFoundError(
        f"there is no model {path}; {hint}check the path, or use 'motion', or an ID that "
        "r2p-edge weights list has"
    )


def _of_address(scheme: str, rest: str, registry: Registry) -> str:
    shown = without_password(f"{scheme}://{rest}")
    file = PurePosixPath(rest.partition("?")[0]).name
    sentence = f"{shown} is an address, and export takes files; "
    if entry := _published(file, registry):
        return f"{sentence}give the ID {entry.id}, which r2p-edge weights get {entry.id} fetches"
    if scheme == "file":
        return f"{sentence}give the path without file://"
    if scheme == "hf":
        repository = "/".join(rest.split("/")[:2])
        return f"{sentence}{_from_hub(repository)}"
    curl = f": curl -L -O {shlex.quote(shown)}" if scheme in ("http", "https") else ""
    return f"{sentence}download the model first, and give the file{curl}"


def _from_hub(name: str) -> str:
    return (
        f"download the model first (pip install huggingface_hub; hf download {name} --local-dir "
        "model), and give the file"
    )


def _published(file: str, registry: Registry) -> PublishedWeights | None:
    """Return the published weights whose publisher gives the file this name."""
    return next((entry for entry in registry.values() if entry.file == file), None)


def _hint(path: Path, text: str, registry: Registry) -> str:
    if entry := _published(path.name, registry):
        return f"the weights of that name have the ID {entry.id}; give that, or "
    # torchvision's names of weights: R2Plus1D_18_Weights.KINETICS400_V1
    name = re.sub(r"_weights(\..*)?", "", text.lower()) if "_weights" in text.lower() else text
    if hint := similar_name(name, registry):
        return hint
    try:
        with os.scandir(path.parent) as entries:
            beside = [entry.name for entry, _ in zip(entries, range(_LISTED))]
    except OSError:
        beside = []
    near = similar_name(path.name, beside, _LIKE)
    if not near and _HUB.fullmatch(text) and not path.parent.exists():
        return f"if this is a name at Hugging Face, {_from_hub(text)}; or "
    return near
