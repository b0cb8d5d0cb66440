"""The stack that a thread's signal handlers run on."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):  # stack_t of Linux, see sigaltstack(2)
    _fields_ = (
        ("place", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Give this thread its stack for signal handlers back, if the block has replaced it.

    Python runs its handlers there. On other systems than Linux this does nothing.
    """
    if sys.platform != "linux":
        yield
        return
    libc, former = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(former))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(former), None)
