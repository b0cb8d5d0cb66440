"""Temporary files and folders: locked while they are used, removed later if their process died.

The system drops the locks of a process that is killed, so that the next process can tell what is
abandoned from what is in use. Where a file system has no locks, nothing is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path


def make_locked(make: Callable[[], tuple[Path, int]]) -> tuple[Path, int]:
    """Make a temporary file or folder and lock it; return its path and an open descriptor.

    The lock lasts until the descriptor is closed.

    Args:
        make: makes one under a new name; returns the same.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        path, descriptor = make()
        lock(descriptor)
        # Before it was locked, another process may have taken it for abandoned.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return path, descriptor
        os.close(descriptor)


def make_folder(new_path: Callable[[], Path], mode: int = 0o777) -> tuple[Path, int]:
    """Make a folder; return its path and an open descriptor, as `make_locked` wants them.

    Args:
        new_path: returns a path where nothing is.
        mode: permissions, less those that the process gives no file.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        path = new_path()
        path.mkdir(mode)
        # Before it was open, another process may have taken it for abandoned.
        with contextlib.suppress(FileNotFoundError):
            return path, open_folder(path)


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder; -1 on systems that open none.

    Raises:
        OSError: it cannot be opened.
    """
    return os.open(path, os.O_RDONLY) if os.name == "posix" else -1


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file or folder; return False if it cannot be."""
    if os.name != "posix":
        return False
    import fcntl

    # Some network file systems have no locks, which is no reason to fail.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return True
    return False


def locked_by_another(descriptor: int) -> bool:
    """Lock an open file unless another process has; return True if one has.

    Where there are no locks nobody has one.
    """
    if os.name != "posix":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def remove_abandoned(folder: Path, name: re.Pattern[str]) -> None:
    """Remove the files and folders of such names that nobody uses any more.

    Those of other users, and those that cannot be removed, stay.
    """
    if os.name != "posix":
        return
    try:
        found = [entry for entry in folder.iterdir() if name.fullmatch(entry.name)]
    except OSError:  # writing there will say why
        return
    for entry in found:
        with contextlib.suppress(OSError):
            _remove_if_abandoned(entry)


def _remove_if_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid() or not lock(descriptor, wait=False):
            return
        if path.is_dir():
            import shutil

            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
