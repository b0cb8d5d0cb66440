"""The two ways into the store: a download, and a file that a person has fetched."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from r2p_edge.artifact.atomic import atomic_file, give_name, not_written
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.errors import (
    CheckpointError,
    DownloadError,
    ModelError,
    ModelNotFoundError,
    UsageError,
    unreadable_model,
)
from r2p_edge.export.published.digest import Hashing, blocks
from r2p_edge.export.published.download import Transfer, TransferProgress
from r2p_edge.export.published.heads import unlike_weights
from r2p_edge.export.published.partial import Partial, state_path
from r2p_edge.export.published.registry import PublishedWeights
from r2p_edge.export.published.store import (
    DamagedWeightsError,
    StoredWeights,
    WeightsRecord,
    WeightsStore,
    bad_path,
)
from r2p_edge.export.recognition import HEAD

_TIMEOUT = 60.0  # seconds
_LOGGER = logging.getLogger(__name__)


def get_weights(
    name: str,
    *,
    store: WeightsStore | None = None,
    sha256: str | None = None,
    offline: bool = False,
    timeout: float = _TIMEOUT,
    progress: TransferProgress | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> StoredWeights:
    """Return published weights from the store; fetch them first if they are not there.

    A download that was cut off is gone on with. The file gets its name once all bytes are there
    and its digest is the published one. Its sha256 is kept beside it, and from then on the store
    takes no other file for these weights.

    Args:
        name: ID in the registry.
        store: where they go, and what is known of them; by default `WeightsStore()`.
        sha256: the file's, in hexadecimal, as another machine has found it.
        offline: make no connection.
        timeout: seconds that a server may be silent.
        progress: called as bytes come.
        wait: waits for so many seconds, after a connection has broken off.

    Raises:
        UsageError: there is no such ID, its file is to be fetched by hand, or `sha256` is none.
        ModelNotFoundError: the weights are not there, and `offline` is set.
        DownloadError: the server cannot be reached or sends another file. One that has a wrong
            digest is kept as `<file>.bad`.
        OutputError: the store cannot be written.
    """
    store = store or WeightsStore()
    entry = store.entry(name)
    _check_sha256(sha256)
    path = store.path(entry)
    try:
        found = store.find(entry)
    except DamagedWeightsError:
        if offline or entry.status == "by-hand":
            raise
        found = None
    if found is not None:
        return _asked_for(found, sha256)
    if offline:
        raise ModelNotFoundError(
            f"the weights {entry.id} are not in {store.folder}, and no connection may be made; get "
            "them without --offline, or add them"
        )
    if entry.status == "by-hand":
        raise UsageError(
            f"the server of {entry.id} wants a person: fetch {entry.file} at {entry.url} with a "
            f"browser, and run r2p-edge weights add {entry.id} FILE"
        )
    _make(store.folder)
    with Partial(path, entry) as partial:
        if (found := _found_or_moved(store, entry)) is not None:
            return _asked_for(found, sha256)
        pinned = store.record(entry)
        transfer = Transfer(entry, partial, timeout=timeout, wait=wait, progress=progress)
        transfer.run()
        problem = _difference(partial.hashing, partial.size, entry, sha256, pinned)
        if problem is not None:
            partial.move(bad := bad_path(path))
            raise DownloadError(
                f"what came for {entry.id} {problem}; it is kept as {bad}, and is not used: try "
                f"again, or see {entry.page}" + ("" if pinned is None else _unpin(path))
            )
        record = _record(entry, entry.url, partial.size, partial.hashing.sha256)
        if pinned is None:
            record.write(path)
        partial.move(path)
        return StoredWeights(entry, path, pinned or record, transfer.received)


def add_weights(
    name: str,
    file: str | Path,
    *,
    store: WeightsStore | None = None,
    sha256: str | None = None,
) -> StoredWeights:
    """Copy a file of published weights that was fetched by hand into the store; return them.

    Args:
        name: ID in the registry.
        file: the file.
        store, sha256: see `get_weights`.

    Raises:
        UsageError: there is no such ID, or `sha256` is none.
        ModelNotFoundError: there is no such file.
        CheckpointError: it is not the file that was published.
        OutputError: the store cannot be written.
    """
    store = store or WeightsStore()
    entry = store.entry(name)
    _check_sha256(sha256)
    file, hashing = Path(file), Hashing(entry.published)
    path, pinned = store.path(entry), store.record(entry)
    if not os.path.isfile(file):
        raise ModelNotFoundError(f"there is no file {file}; check the path")
    _make(store.folder)
    with atomic_file(path) as draft:
        size = _copy(file, draft, hashing)
        problem = _difference(hashing, size, entry, sha256, pinned)
        if problem is not None:
            raise CheckpointError(
                f"{file} is not {entry.id}: it {problem}; fetch {entry.file} at {entry.page} again"
                + ("" if pinned is None else _unpin(path))
            )
        record = _record(entry, None, size, hashing.sha256)
        if pinned is None:
            record.write(path)
    return StoredWeights(entry, path, pinned or record)


def _found_or_moved(store: WeightsStore, entry: PublishedWeights) -> StoredWeights | None:
    """Return weights that another process has fetched meanwhile; move damaged ones away."""
    try:
        return store.find(entry)
    except DamagedWeightsError as error:
        path = store.path(entry)
        give_name(path, bad := bad_path(path))
        _LOGGER.warning("%s; it is kept as %s", error, bad)
        return None


def _asked_for(found: StoredWeights, sha256: str | None) -> StoredWeights:
    """Return weights of the store, if they have the sha256 that was asked for."""
    if sha256 not in (None, found.record.sha256):
        raise ModelError(
            f"{found.path} has sha256 {found.record.sha256}, and {sha256} was asked for; delete it "
            f"and {sidecar_path(found.path).name} if the other is right"
        )
    with contextlib.suppress(OSError):  # left by a process that was killed at its last step
        state_path(found.path).unlink(missing_ok=True)
    return found


def _difference(
    hashing: Hashing,
    size: int,
    entry: PublishedWeights,
    sha256: str | None,
    pinned: WeightsRecord | None,
) -> str | None:
    """Return in words how a file differs from what it is to be; None if it does not."""
    if entry.size not in (None, size):
        return f"has {size} bytes, and the published file has {entry.size}"
    if (difference := hashing.difference()) is not None:
        return difference
    if sha256 not in (None, hashing.sha256):
        return f"has sha256 {hashing.sha256}, and {sha256} was asked for"
    if pinned is not None and pinned.sha256 != hashing.sha256:
        return f"has sha256 {hashing.sha256}, and the file that came before had {pinned.sha256}"
    return None


def _unpin(path: Path) -> str:
    return f" (if the publisher has replaced the file, delete {sidecar_path(path)} first)"


def _record(entry: PublishedWeights, url: str | None, size: int, sha256: str) -> WeightsRecord:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return WeightsRecord(entry.id, url, size, sha256, entry.digest, now)


def _copy(file: Path, draft: Path, hashing: Hashing) -> int:
    """Copy a file that begins as weights do; return its bytes."""
    size = 0
    try:
        source = file.open("rb")
    except OSError as error:
        raise unreadable_model(file, error) from error
    with source, draft.open("wb") as target:
        problem = unlike_weights(source.read(HEAD))
        if problem is not None:
            raise CheckpointError(f"{file} is {problem}; give the file of the weights itself")
        source.seek(0)
        for block in blocks(source):
            hashing.update(block)
            target.write(block)
            size += len(block)
    return size


def _check_sha256(sha256: str | None) -> None:
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UsageError(
            f"sha256 is {sha256!r:.80}; it must be 64 hexadecimal digits in lower case"
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error
