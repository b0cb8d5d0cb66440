"""The store: a folder of weights that were fetched or brought by hand, and checked."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, unreadable_model
from r2p_edge.export.published.digest import hashing_of_file
from r2p_edge.export.published.json_records import parse_record, read_json_file
from r2p_edge.export.published.partial import partial_path
from r2p_edge.export.published.registry import (
    PublishedWeights,
    Registry,
    read_registry,
    weights_of_id,
)

_ADVICE = "delete it, and get or add the weights again"


def store_folder() -> Path:
    """Return the folder of the store: $R2P_WEIGHTS, or r2p_edge/weights in the user's cache."""
    if chosen := os.environ.get("R2P_WEIGHTS"):
        return Path(chosen).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative one is to be ignored, says the specification of these variables.
    root = cache if cache.is_absolute() else Path.home() / ".cache"
    return root / "r2p_edge" / "weights"


def bad_path(path: Path) -> Path:
    """Return the name under which a file is kept that is not the published one."""
    return path.with_name(path.name + ".bad")


@dataclass(frozen=True)
class WeightsRecord:
    """The record that lies beside weights in the store, in `<file>.json`.

    Attributes:
        id: of the registry.
        url: where they were fetched; None if they were brought by hand.
        size: in bytes.
        sha256: in hexadecimal; weights of another one are refused from then on.
        digest: the published digest that they were compared with; None if there was none.
        added: when, in UTC.
    """

    id: str
    url: str | None
    size: int
    sha256: str
    digest: str | None
    added: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise SpecError("sha256 must be 64 hexadecimal digits")

    def write(self, path: Path) -> None:
        """Write it beside the weights at `path`.

        Raises:
            OutputError: it cannot be written.
        """
        atomic_write(sidecar_path(path), (json.dumps(asdict(self), indent=2) + "\n").encode())


@dataclass(frozen=True)
class StoredWeights:
    """Weights that are in the store.

    Attributes:
        entry: what the registry says of them.
        path: the file.
        record: what was written when they came.
        fetched: bytes that came over the network just now.
    """

    entry: PublishedWeights
    path: Path
    record: WeightsRecord
    fetched: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for JSON."""
        licence = {name: getattr(self.entry, name) for name in ("licence", "trained_on")}
        return {"path": str(self.path), **asdict(self.record), **licence, "fetched": self.fetched}


@dataclass(frozen=True)
class WeightsCheck:
    """A file of the store as it was found.

    Attributes:
        id: of the registry.
        path: the file.
        state: "whole", "damaged", "missing", "not recorded" or "unfinished".
        reason: in words; "" for whole ones.
    """

    id: str
    path: Path
    state: str
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for JSON."""
        return {**asdict(self), "path": str(self.path)}


class DamagedWeightsError(ModelError):
    """Weights in the store have other bytes than when they came."""


class WeightsStore:
    """A folder of weights, and what is known of them.

    Args:
        folder: the folder, which need not exist; by default `store_folder()`.
        registry: file like `r2p_edge/assets/weights.json`, which is the default.
    """

    def __init__(
        self, folder: str | Path | None = None, registry: str | Path | None = None
    ) -> None:
        self.folder = store_folder() if folder is None else Path(folder)
        self._registry = registry

    @functools.cached_property
    def registry(self) -> Registry:
        """Return what is known of published weights, by ID; see `read_registry` for its errors."""
        return read_registry(self._registry)

    def entry(self, name: str) -> PublishedWeights:
        """Return what is known of the weights of an ID.

        Raises:
            UsageError: there are none.
        """
        return weights_of_id(name, self.registry)

    def path(self, entry: PublishedWeights) -> Path:
        """Return where weights lie, or will."""
        return self.folder / entry.stored_as

    def record(self, entry: PublishedWeights) -> WeightsRecord | None:
        """Return what was written when weights came; None if they never did.

        Raises:
            ModelError: it is damaged.
        """
        file = sidecar_path(self.path(entry))
        if not os.path.isfile(file):
            return None
        where = f"record {file}"
        data = read_json_file(file, "record", _ADVICE)
        record = parse_record(WeightsRecord, data, where, _ADVICE)
        if record.id != entry.id:
            raise ModelError(f"{where} is of {record.id!r:.80} and not of {entry.id}; {_ADVICE}")
        return record

    def find(self, entry: PublishedWeights) -> StoredWeights | None:
        """Return weights of the store, all of whose bytes are as they were; None if not there.

        Raises:
            DamagedWeightsError: they are damaged.
            ModelError: nothing was written when they came, or what was is damaged.
        """
        path = self.path(entry)
        if not os.path.isfile(path):
            return None
        record = self.record(entry)
        if record is None:
            raise ModelError(
                f"{path} was put there by another program; give it to r2p-edge weights add "
                f"{entry.id} FILE, which checks it"
            )
        if (problem := _problem(path, entry, record)) is not None:
            raise DamagedWeightsError(
                f"{path} is damaged: it {problem}; r2p-edge weights get {entry.id}, or add, "
                "replaces it"
            )
        return StoredWeights(entry, path, record)

    def open_for_export(self, entry: PublishedWeights) -> StoredWeights:
        """Return weights of the store, for a verb that fetches nothing.

        Raises:
            ModelNotFoundError: they are not there; the message says how to bring them.
            ModelError: see `find`.
        """
        found = self.find(entry)
        if found is None:
            by_hand = (
                f"fetch {entry.file} at {entry.url} and run r2p-edge weights add {entry.id} FILE"
            )
            how = by_hand if entry.status == "by-hand" else f"run r2p-edge weights get {entry.id}"
            raise ModelNotFoundError(
                f"the weights {entry.id} are not in {self.folder}, and nothing is fetched unasked; "
                f"{how}"
            )
        return found

    def check(self) -> Iterator[WeightsCheck]:
        """Yield each of the registry's weights of which something is in the store."""
        for entry in self.registry.values():
            path = self.path(entry)
            if os.path.isfile(path) or os.path.isfile(sidecar_path(path)):
                yield self._check(entry)
            elif os.path.isfile(partial_path(path)):
                yield WeightsCheck(
                    entry.id,
                    partial_path(path),
                    "unfinished",
                    "r2p-edge weights get goes on with it",
                )

    def _check(self, entry: PublishedWeights) -> WeightsCheck:
        path = self.path(entry)
        try:
            record = self.record(entry)
        except ModelError as error:
            return WeightsCheck(entry.id, path, "damaged", str(error))
        if record is None:
            why = f"there is no {sidecar_path(path).name}; r2p-edge weights add checks it"
            return WeightsCheck(entry.id, path, "not recorded", why)
        if not os.path.isfile(path):
            why = f"{sidecar_path(path).name} speaks of it; get or add it again"
            return WeightsCheck(entry.id, path, "missing", why)
        try:
            problem = _problem(path, entry, record)
        except ModelError as error:
            return WeightsCheck(entry.id, path, "damaged", str(error))
        if problem is not None:
            return WeightsCheck(entry.id, path, "damaged", f"it {problem}; get or add it again")
        return WeightsCheck(entry.id, path, "whole")


def _problem(path: Path, entry: PublishedWeights, record: WeightsRecord) -> str | None:
    """Return in words how a file differs from what came and was published; None if it does not."""
    try:
        hashing = hashing_of_file(path, entry.published)
    except OSError as error:
        raise unreadable_model(path, error) from error
    if hashing.sha256 != record.sha256:
        return f"has sha256 {hashing.sha256}, and had {record.sha256} when it came"
    return hashing.difference()
