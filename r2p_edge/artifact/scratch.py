"""Folders for temporary files, which do not outlive a process that is killed by much."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from r2p_edge.artifact.abandoned import make_folder, make_locked, remove_abandoned
from r2p_edge.errors import OutputError, R2PError, shown_as

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
_NAME = re.compile(r"r2p_edge-[0-9a-f]{16}")


@contextlib.contextmanager
def scratch_folder(shown: str | Path) -> Iterator[Path]:
    """Yield an empty folder below the system's folder for temporary files (TMPDIR); remove it.

    Those that killed processes of this package have left there are removed first.

    Args:
        shown: what errors of the block name in place of the files in the folder, see `shown_as`.

    Raises:
        OutputError: it cannot be made; or the system refused a file to the block itself, as on a
            full disk.
    """
    descriptor, folder = -1, None
    try:
        parent = Path(tempfile.gettempdir())
        remove_abandoned(parent, _NAME)
        folder, descriptor = make_locked(lambda: make_folder(lambda: _new_path(parent), 0o700))
        with shown_as(folder, shown):
            yield folder
    except R2PError:  # some are OSErrors too, and say themselves what happened
        raise
    except OSError as error:
        if folder is not None and not _is_about(error, folder):
            raise
        raise OutputError(
            f"temporary files cannot be written ({error.strerror or error}); make room in "
            f"{tempfile.tempdir or 'the folder for them'}, or set TMPDIR to another folder"
        ) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if descriptor >= 0:
            os.close(descriptor)


def _is_about(error: OSError, folder: Path) -> bool:
    """Return whether the system has refused to write below the folder."""
    if isinstance(error.filename, str):
        return Path(error.filename).is_relative_to(folder)
    return error.errno in _REFUSALS


def _new_path(parent: Path) -> Path:
    return parent / f"r2p_edge-{os.urandom(8).hex()}"
