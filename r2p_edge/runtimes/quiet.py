"""Libraries that print to stdout, where this program's answers are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what a library, or its C++ part, prints to stdout meanwhile."""
    sys.stdout.flush()
    libc = ctypes.CDLL(None)
    stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        libc.fflush(None)  # into a pipe C prints late
        os.dup2(stdout, 1)
        os.close(stdout)
