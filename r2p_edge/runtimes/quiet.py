"""Libraries that print to stdout, where this program's answers are."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_threads = 0  # that are in the block
_undo = contextlib.ExitStack()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what a library, or its C++ part, prints to stdout meanwhile.

    stdout is the process's: it is sent there from the first thread's entry to the last one's exit.
    """
    global _threads
    with _lock:
        if _threads == 0:
            _redirect()
        _threads += 1
    try:
        yield
    finally:
        with _lock:
            _threads -= 1
            if _threads == 0:
                _undo.close()


def _redirect() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    # A process without stdout or stderr has nothing to keep apart.
    with contextlib.suppress(OSError), contextlib.ExitStack() as undo:
        stdout = os.dup(1)
        undo.callback(os.close, stdout)
        undo.callback(os.dup2, stdout, 1)
        undo.callback(ctypes.CDLL(None).fflush, None)  # into a pipe C prints late
        os.dup2(2, 1)
        undo.enter_context(contextlib.redirect_stdout(sys.stderr))
        _undo.push(undo.pop_all())
