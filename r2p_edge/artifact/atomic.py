"""Writing of files and folders that a reader finds either whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from r2p_edge.errors import OutputError, R2PError


def check_folder(path: str | Path) -> None:
    """Make sure, before long work, that a file can be written at `path`.

    Raises:
        OutputError: its folder does not exist or is write-protected, or `path` is a folder or has
            a name that the file system does not allow.
    """
    path = Path(path)
    try:
        folder, taken = path.parent.is_dir(), path.is_dir()
    except OSError as error:  # for example, the name is too long
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
    """Write `data` to `path`, replacing what was there, all of it or nothing.

    The bytes go to a temporary file in the same folder, reach the disk, and only then take the
    name, so that neither a full disk nor a power cut leaves half a model behind.

    Raises:
        OutputError: the file cannot be written; what was at `path` before is still there.
    """
    path = Path(path)
    check_folder(path)
    # Not tempfile: its files are readable by their owner alone, and an artifact is for others.
    temporary = path.with_name(f".{path.name[:80]}.{os.urandom(4).hex()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_written(path, error) from error
        raise
    _sync_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder to fill, which replaces the one at `path` once the block is done.

    Raises:
        OutputError: the folder cannot be written; what was at `path` before is still there.
        R2PError: raised by the block itself, unchanged.
    """
    path = Path(path)
    token = os.urandom(4).hex()
    draft, old = (path.with_name(f".{path.name[:80]}.{token}.{end}") for end in ("part", "old"))
    try:
        draft.mkdir()
        yield draft
        if path.exists():
            path.replace(old)
        draft.replace(path)
        _sync_folder(path.parent)
    except R2PError:  # some are OSErrors too, and say themselves what happened
        raise
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        for left in (draft, old):
            import shutil

            shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold off other processes that are about to read, change and write a file in the folder.

    Raises:
        OSError: the folder cannot be opened.
    """
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


def _not_written(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}; make room there or choose another "
        "folder"
    )


def _sync_folder(folder: Path) -> None:
    """Bring a folder's new entry to the disk, where the system allows it."""
    # A new name is an entry of the folder, which reaches the disk separately. Windows cannot open
    # a folder and does not need to.
    if os.name == "posix":
        # Some network and FUSE file systems refuse it, and a folder may be writable only. The file
        # is whole and has its name by now, so the write has not failed.
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
