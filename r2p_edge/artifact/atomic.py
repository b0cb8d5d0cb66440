"""Writing of files and folders that a reader finds either whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from r2p_edge.artifact.abandoned import (
    lock,
    make_folder,
    make_locked,
    open_folder,
    remove_abandoned,
)
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


@contextlib.contextmanager
def made_folder(folder: str | Path) -> Iterator[None]:
    """Make a folder if it does not exist; remove it again if it stays empty after an error.

    Raises:
        OutputError: it cannot be made.
    """
    folder = Path(folder)
    made = not os.path.exists(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); choose another folder"
        ) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what was there, all of it or nothing.

    Raises:
        OutputError: the file cannot be written; what was at `path` before is still there.
    """
    atomic_files({Path(path): data})


def atomic_files(files: Mapping[Path, bytes], ready: Callable[[], None] = lambda: None) -> None:
    """Write several files of one folder, each of them whole or not at all.

    The bytes go to temporary files in the same folder, reach the disk, and only then take their
    names, in the order given, so that neither a full disk nor a power cut leaves half a file
    behind. What a process that was killed has left of the same files is removed.

    Args:
        files: the bytes of each file.
        ready: called once all bytes are on the disk, before the first file gets its name.

    Raises:
        OutputError: a file cannot be written; unless the very last step failed, the renaming, what
            was there before is still there.
    """
    for path in files:
        check_folder(path)
    with contextlib.ExitStack() as stack:
        drafts = {path: stack.enter_context(_draft(path, data)) for path, data in files.items()}
        path = next(iter(files))
        try:
            ready()
            for path, draft in drafts.items():
                draft.replace(path)
        except R2PError:
            raise
        except OSError as error:
            raise not_written(path, error) from error
    for folder in {path.parent for path in files}:
        _sync_folder(folder)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield the path of an empty file to write, which takes the name `path` once the block is done.

    It has the suffix of `path`, by which libraries choose a format.

    Raises:
        OutputError: the file cannot be written; what was at `path` before is still there.
        Exception: raised by the block itself, unchanged; an OSError becomes an OutputError.
    """
    path = Path(path)
    check_folder(path)
    try:
        with _draft(path, b"", path.suffix) as draft:
            yield draft
            _sync(draft)
            draft.replace(path)
    except R2PError:  # some are OSErrors too, and say themselves what happened
        raise
    except OSError as error:
        raise not_written(path, error) from error
    _sync_folder(path.parent)


def give_name(draft: str | Path, path: str | Path) -> None:
    """Give a file that is whole, in the same folder, the name `path`; replace what was there.

    Raises:
        OutputError: it cannot be; both files are as they were.
    """
    draft, path = Path(draft), Path(path)
    try:
        _sync(draft)
        draft.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    _sync_folder(path.parent)


@contextlib.contextmanager
def _draft(path: Path, data: bytes, suffix: str = "") -> Iterator[Path]:
    """Write `data` to a temporary file beside `path`; at the end remove it if it is still there."""
    remove_abandoned(path.parent, _temporary_names(path))
    draft, descriptor = None, -1

    def make() -> tuple[Path, int]:
        # Not tempfile: its files are readable by their owner alone, and an artifact is for others.
        name = _temporary(path, "part" + suffix)
        return name, os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)

    try:
        try:
            draft, descriptor = make_locked(make)
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
        except OSError as error:
            raise not_written(path, error) from error
        yield draft
    finally:
        if draft is not None:
            with contextlib.suppress(OSError):  # the next run removes it
                draft.unlink(missing_ok=True)
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield a folder to fill, which replaces the one at `path` once the block is done.

    Raises:
        OutputError: the folder cannot be written; what was at `path` before is still there.
        R2PError: raised by the block itself, unchanged.
    """
    path = Path(path)
    _restore(path)
    remove_abandoned(path.parent, _temporary_names(path))
    draft, old = None, _temporary(path, "old")
    descriptors: list[int] = []

    try:
        draft, descriptor = make_locked(lambda: make_folder(lambda: _temporary(path, "part")))
        descriptors.append(descriptor)
        yield draft
        for file in draft.rglob("*"):
            _sync(file)
        replaces = path.exists()
        if replaces:
            descriptors.append(open_folder(path))
            lock(descriptors[-1])
        if not (replaces and _exchange(draft, path)):
            if replaces:
                path.replace(old)
            draft.replace(path)
        _sync_folder(path.parent)
    except R2PError:  # some are OSErrors too, and say themselves what happened
        raise
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        for left in (draft, old):
            if left is not None:
                import shutil

                shutil.rmtree(left, ignore_errors=True)
        for descriptor in descriptors:
            if descriptor >= 0:
                os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders take each other's name in one step; return False where that fails."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:  # a C library before glibc 2.28
        return False
    names = os.fsencode(one), os.fsencode(other)
    # linux/fs.h and fcntl.h; some network file systems cannot exchange names.
    exchange, here = 2, -100
    return bool(renameat2(here, names[0], here, names[1], exchange) == 0)


def _restore(path: Path) -> None:
    """Give a folder its name back whose writer was killed between its two renames."""
    names = _temporary_names(path)
    with contextlib.suppress(OSError):
        for old in [] if path.exists() else list(path.parent.iterdir()):
            if old.suffix == ".old" and names.fullmatch(old.name):
                old.replace(path)


def _temporary(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name[:80]}.{os.urandom(4).hex()}.{end}")


def _temporary_names(path: Path) -> re.Pattern[str]:
    """Return the pattern of all names that `_temporary` gives for a path."""
    name, suffix = re.escape(path.name[:80]), re.escape(path.suffix)
    return re.compile(rf"\.{name}\.[0-9a-f]{{8}}\.(part({suffix})?|old)")


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Hold off other processes that are about to read, change and write a file in the folder.

    Raises:
        OSError: the folder cannot be opened.
    """
    descriptor = open_folder(Path(folder))
    try:
        lock(descriptor)
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def not_written(path: Path, error: OSError) -> OutputError:
    """Return the error to raise where the operating system does not write a file."""
    return OutputError(
        f"{path} cannot be written: {error.strerror or error}; make room there or choose another "
        "folder"
    )


def _sync(file: Path) -> None:
    """Bring a file, or a folder's entries, to the disk.

    Raises:
        OSError: they have not all been written.
    """
    descriptor = open_folder(file) if file.is_dir() else os.open(file, os.O_RDWR)
    if descriptor < 0:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's new entry to the disk, where the system allows it."""
    # A new name is an entry of the folder, which reaches the disk separately. Windows cannot open
    # a folder and does not need to. Some network and FUSE file systems refuse it, and a folder may
    # be writable only. The file is whole and has its name by now, so the write has not failed.
    with contextlib.suppress(OSError):
        _sync(folder)
