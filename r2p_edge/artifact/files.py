"""Writing artifacts so that a reader finds either the whole file or none."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r2p_edge.artifact.open import files_of, sha256_of_file, sidecar_path
from r2p_edge.errors import OutputError
from r2p_edge.spec.model_spec import ModelSpec


def check_folder(path: str | Path) -> None:
    """Makes sure, before long work, that a file can be written at `path`.

    Raises:
        OutputError: its folder does not exist or may not be written to, or `path` is a folder or
            has a name that no file can have.
    """
    path = Path(path)
    try:
        folder, taken = path.parent.is_dir(), path.is_dir()
    except OSError as error:  # the name is too long, for one
        raise OutputError(
            f"{path} cannot be written: {error.strerror}; choose another name or folder"
        ) from error
    if not folder:
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}; create it")
    if taken:
        raise OutputError(f"{path} cannot be written: it is a folder; give the name of a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{path} cannot be written: {path.parent} is write-protected; choose another folder"
        )


def atomic_write(path: str | Path, data: bytes) -> None:
    """Writes `data` to `path`, replacing what was there, all of it or nothing.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the
    name, so that neither a full disk nor a power cut leaves half a model behind.

    Raises:
        OutputError: the file cannot be written; what was at `path` before is still there.
    """
    path = Path(path)
    check_folder(path)
    # Not tempfile: its files are readable by their owner alone, and an artifact is for others.
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OutputError(
                f"{path} cannot be written: {reason}; make room there or choose another folder"
            ) from error
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` once the block is done, and replaces that one.

    Raises:
        OutputError: it cannot be written; what was at `path` before is still there.
    """
    path = Path(path)
    token = secrets.token_hex(4)
    draft, old = (path.with_name(f".{path.name[:80]}.{token}.{end}") for end in ("part", "old"))
    try:
        draft.mkdir()
        yield draft
        if path.exists():
            path.replace(old)
        draft.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; make room there or choose "
            "another folder"
        ) from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        for left in (draft, old):
            shutil.rmtree(left, ignore_errors=True)


def write_sidecar(path: str | Path, spec: ModelSpec) -> Path:
    """Writes `<path>.json`: the spec of an artifact, and what its bytes must be.

    The file holds {"spec", "size", "sha256"}; size (bytes) and sha256 are those of the artifact
    at `path`, which must be there already. Where its weights lie in a second file there is
    "files" too: {name: {"size", "sha256"}}.

    Returns:
        The sidecar's path.

    Raises:
        OutputError: the artifact cannot be read or the sidecar cannot be written.
    """
    path = Path(path)
    try:
        files = {file.name: fingerprint(file) for file in files_of(path)}
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error.strerror}), so its sidecar cannot be written; "
            "write the artifact first"
        ) from error
    content = {"spec": spec.to_dict(), **files.pop(path.name)}
    if files:
        content["files"] = files
    sidecar = sidecar_path(path)
    atomic_write(sidecar, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    return sidecar


def fingerprint(file: Path) -> dict[str, Any]:
    """{"size", "sha256"} of a file, as sidecars and manifests hold them."""
    return {"size": file.stat().st_size, "sha256": sha256_of_file(file)}


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Holds off other processes that are about to read, change and write a file in the folder."""
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems have no locks, which is no reason to fail.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # The new name is an entry of the folder, which reaches the disk separately. Windows cannot
    # open a folder and does not need to.
    if os.name == "posix":
        # Some network and FUSE file systems refuse it, and a folder may be writable only. The file
        # is whole and has its name by now, so that the write has not failed.
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
