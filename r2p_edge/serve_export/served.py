"""A model as a server's repository has it: its file, its contract and its tensors."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.artifact.files import files_of
from r2p_edge.artifact.open import Artifact, open_artifact
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.artifact.tensors import Tensors, tensors_of
from r2p_edge.errors import UsageError
from r2p_edge.model_names import check_model_name
from r2p_edge.scores import require_scores
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.flow import require_colours


@dataclass(frozen=True)
class ServedModel:
    """A model that is to be served.

    Attributes:
        name: name of the model on the server.
        artifact: its file and its contract.
        tensors: its input and its answer.
        max_batch: most clips that a server may put into one call, where the batch axis is open.
    """

    name: str
    artifact: Artifact
    tensors: Tensors
    max_batch: int

    @property
    def spec(self) -> ModelSpec:
        """The model's contract."""
        return self.artifact.spec

    @property
    def suffix(self) -> str:
        """The suffix of the model's file in lower case, ".onnx" for example."""
        return self.artifact.path.suffix.lower()

    @property
    def open_batch(self) -> bool:
        """True if the model takes any number of clips in a call."""
        return self.tensors.input.shape[0] == -1


def served_model(
    path: str | Path,
    *,
    name: str | None = None,
    spec: ModelSpec | str | Path | None = None,
    max_batch: int = 8,
) -> ServedModel:
    """Open a model that is to be served.

    Args:
        path: the model file, or a folder with one model.
        name: name of the model on the server; by default that of its contract.
        spec: contract of a model that carries none.
        max_batch: see `ServedModel`.

    Raises:
        UsageError: a server cannot have a model of that name, `max_batch` is below 1, or the
            model takes optical flow.
        ModelError, SpecError: see `open_artifact` and `tensors_of`.
    """
    if max_batch < 1:
        raise UsageError(f"max_batch is {max_batch}; it must be 1 or more")
    artifact = open_artifact(path, spec)
    require_scores(artifact.spec, artifact.path)
    flow, own = artifact.spec.flow, artifact.spec.name
    require_colours(flow, own, "what is written for other servers makes frames of colours")
    chosen = artifact.spec.name if name is None else name
    check_model_name(chosen)
    return ServedModel(chosen, artifact, tensors_of(artifact), max_batch)


def place_model(model: ServedModel, folder: Path, stem: str, suffix: str) -> Path:
    """Put the files of a model into a folder under another name, with a sidecar.

    They are hard links where the file system allows it, and copies elsewhere.

    Args:
        model: the model.
        folder: existing folder, which has no such file yet.
        stem, suffix: name of the model file there, such as "model" and ".plan".

    Returns:
        Path of the model file.

    Raises:
        OSError: a file cannot be written.
        OutputError: see `write_sidecar`.
    """
    first, *others = files_of(model.artifact.path)
    placed = folder / f"{stem}{suffix}"
    link_or_copy(first, placed)
    for other in others:
        link_or_copy(other, folder / f"{stem}{other.suffix}")
    write_sidecar(placed, model.spec)
    return placed


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or where that is impossible, a copy.

    Raises:
        OSError: it cannot be copied either.
    """
    # Other file systems, such as that of a memory stick, and some that have no links at all.
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)
