"""Pickled predictors: a path and options, which each process opens once, however often it is sent.

A pool sends the method that it calls with every few of its tasks; a model takes longer to open than
to answer.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from r2p_edge.artifact.files import files_of, sha256_of_model
from r2p_edge.errors import ModelError, unreadable_model
from r2p_edge.runtimes.base import Options
from r2p_edge.spec import FusionSpec, ModelSpec

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

Stamps = tuple[tuple[int, int], ...]
"""Size in bytes, and time of change in nanoseconds, of each file of a model."""

_MODELS = 4  # that a process keeps open for those who send them again


class Opening(NamedTuple):
    """Everything that opens a model as another process has it open.

    Attributes:
        kind: class of the predictor.
        paths: absolute path of the model; of two streams of both.
        sha256: of the files of each, see `sha256_of_model`.
        runtime: library that runs it.
        options: device, threads and so on, as they were asked for.
        spec: JSON of the contract, if it was given and is not the file's own.
        fusion: of two streams.
    """

    kind: type[Predictor]
    paths: tuple[Path, ...]
    sha256: tuple[str, ...]
    runtime: str
    options: Options
    spec: str | None
    fusion: FusionSpec | None


def stamps_of(path: Path) -> Stamps:
    """Return size and time of change of each file of the model at `path`.

    Raises:
        ModelError: a file is gone, or cannot be read.
    """
    try:
        found = [file.stat() for file in files_of(path)]
    except OSError as error:
        raise unreadable_model(path, error) from error
    return tuple((each.st_size, each.st_mtime_ns) for each in found)


def sha256_of_opened(path: Path, stamps: Stamps) -> str:
    """Return the sha256 of a model that is open, see `sha256_of_model`.

    Args:
        path: the model file.
        stamps: what `stamps_of` gave when the model was opened.

    Raises:
        ModelError: a file is gone, cannot be read, or has changed since.
    """
    if stamps_of(path) != stamps:
        raise ModelError(
            f"{path} has changed since it was opened, so another process would open another "
            "model; open it again"
        )
    return sha256_of_model(path)


def open_again(opening: Opening) -> Predictor:
    """Return the predictor of a pickle, the same one for all its copies in this process.

    Raises:
        ModelError: the file at the path is another one now.
        R2PError: see `Predictor`.
    """
    predictor = _open(opening, os.getpid())
    if predictor.closed:
        _open.cache_clear()
        predictor = _open(opening, os.getpid())
    return predictor


@functools.lru_cache(_MODELS)
def _open(opening: Opening, process: int) -> Predictor:
    """Open a model; `process` keeps one that was forked apart: its threads stayed behind."""
    for path, sha256 in zip(opening.paths, opening.sha256):
        if sha256_of_model(path) != sha256:
            raise ModelError(
                f"{path} is not the file that was opened before it was sent to this process; open "
                "and send it again"
            )
    options = opening.options
    return opening.kind(
        opening.paths if opening.fusion else opening.paths[0],
        runtime=opening.runtime,
        device=options.device,
        threads=options.threads,
        precision=options.precision,
        cache=options.cache,
        spec=None if opening.spec is None else ModelSpec.from_json(opening.spec),
        fusion=opening.fusion,
    )
