"""The servers whose repositories are written: a row for each, imported when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from r2p_edge.errors import ModelError, UsageError, similar_name
from r2p_edge.serve_export.served import ServedModel
from r2p_edge.spec import ModelSpec

SERVERS = {
    "triton": "r2p_edge.serve_export.triton:TritonRepository",
    "ovms": "r2p_edge.serve_export.ovms:OvmsRepository",
    "deepstream": "r2p_edge.serve_export.deepstream:DeepStreamRepository",
}
"""Class that writes for each server, a `Server`, by the server's name: "module:class"."""


@dataclass(frozen=True)
class ModelFolder:
    """The folder of one model in a repository.

    Attributes:
        name: name of the folder, and of the model on the server.
        spec: the contract.
        tensors: inputs and outputs as the server's clients see them, in types that become JSON;
            all versions of a model have the same.
        write: takes the model's folder and that of the version, in which the model's files go,
            and writes what is in them.
        has_versions: each version has a folder of its own in the model's; else both are one.
    """

    name: str
    spec: ModelSpec
    tensors: Any
    write: Callable[[Path, Path], None]
    has_versions: bool = True


class Server(Protocol):
    """The way in which a model is written for one server."""

    def check(self, model: ServedModel) -> None:
        """Raise ModelError if the server cannot run the model."""
        ...

    def folders(self, model: ServedModel) -> list[ModelFolder]:
        """Return the folders that the model becomes."""
        ...

    def root_files(self, model: ServedModel, out: Path) -> Mapping[str, bytes]:
        """Return files that lie beside the folders of all models, by their names.

        Raises:
            OutputError: one that is there is not of this package.
        """
        ...

    def start(self, model: ServedModel, out: Path) -> str:
        """Return the command that starts the server."""
        ...


def server_of(name: str) -> Server:
    """Return what writes for a server.

    Raises:
        UsageError: no server of `SERVERS` has that name.
    """
    if name not in SERVERS:
        raise UsageError(
            f"unknown server {name!r}; {similar_name(name, SERVERS)}choose one of "
            f"{', '.join(SERVERS)}"
        )
    module, _, kind = SERVERS[name].partition(":")
    return cast(Server, getattr(importlib.import_module(module), kind)())


def refused(model: ServedModel, server: str, suffixes: Mapping[str, Any]) -> None:
    """Refuse a model file whose format a server does not run.

    Args:
        model: the model.
        server: name of the server for people.
        suffixes: those that it runs.

    Raises:
        ModelError: the file has another suffix.
    """
    if model.suffix not in suffixes:
        raise ModelError(
            f"{model.artifact.path} cannot be run by {server}, which runs "
            f"{', '.join(suffixes)}; export the model in one of these (r2p-edge export --to)"
        )
