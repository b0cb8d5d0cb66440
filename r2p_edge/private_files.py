"""Files that hold secrets, and who else may read them."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

GROUP_AND_OTHERS, OTHERS = 0o077, 0o007
"""Bits of a file's mode: everybody but its owner; and of these, its group left out."""

_log = logging.getLogger(__name__)


def warn_of_readers(what: str, path: str | Path, bits: int = GROUP_AND_OTHERS) -> None:
    """Log a warning where others may read or write a file that holds a secret.

    Args:
        what: word for the file, in front of its path.
        path: the file.
        bits: bits of its mode that it should not have; not on Windows, which has none.
    """
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):  # whoever reads it tells
        if Path(path).stat().st_mode & bits:
            _log.warning("others may read %s %s; chmod 600 makes it yours alone", what, path)
