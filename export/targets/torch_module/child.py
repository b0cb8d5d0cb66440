"""Work in a child process, so that what it takes, changes or breaks stays there.

The child is a copy of this process. A module in it can be cast, moved and put into evaluation mode
without a trace in the caller's own, and an exporter that eats memory meets a limit.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

MEMORY = 6 * 2**30
"""Bytes that an export may take beyond what the process has; less where the machine has less."""


def run_in_child(work: Callable[[], None], memory: int = MEMORY) -> int:
    """Run a function in a copy of this process, and wait for it.

    What it prints goes to stderr.

    Args:
        work: what it raises is lost; it writes its results to files.
        memory: bytes that it may take, beside those that this process has.

    Returns:
        The exit code: 0, 1 after an exception, or the number of the signal that ended it, below 0.
    """
    _flush()
    with warnings.catch_warnings():
        # Of threads, which the child does not have: it needs none.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _work_and_exit(work, memory)
    try:
        _, status = os.waitpid(child, 0)
    except BaseException:  # Ctrl-C
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return os.waitstatus_to_exitcode(status)


def _work_and_exit(work: Callable[[], None], memory: int) -> None:
    code = 1
    # What the caller has left to the garbage collector may wait for threads that are not here: an
    # ONNX Runtime session does.
    gc.freeze()
    try:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        _limit_memory(memory)
        work()
        code = 0
    finally:  # nothing of the caller's is unwound here
        _flush()
        os._exit(code)


def _flush() -> None:
    """Write out what is printed already, which the child would print again."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _limit_memory(memory: int) -> None:
    """Set the most address space that this process may have."""
    have = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = have + min(memory, _available() * 3 // 4)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _available() -> int:
    """Return the bytes of memory that programs can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, size = line.partition(":")
        if name == "MemAvailable":
            return int(size.split()[0]) * 1024
    return MEMORY
