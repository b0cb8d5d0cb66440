"""The words of this process in the system's list of processes."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

from r2p_edge.addresses import without_password

_ARG_START = 45  # of /proc/self/stat, counted after the name of the program; see proc(5)


def hide_arguments() -> None:
    """Overwrite users and passwords in the command line of this process, as others may read it.

    Until then they can be read: a file of credentials is the safe way. Nothing happens on systems
    other than Linux.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        start, end = map(int, fields.rpartition(")")[2].split()[_ARG_START : _ARG_START + 2])
        shown = Path("/proc/self/cmdline").read_bytes()
        if not 0 < start < end or ctypes.string_at(start, end - start) != shown:
            return  # somebody else has changed it
        hidden = b"\0".join(map(_hidden, shown.split(b"\0")))
        if hidden != shown:
            ctypes.memmove(start, hidden, len(hidden))


def _hidden(word: bytes) -> bytes:
    """Return a word without passwords, in as many bytes."""
    text = word.decode("utf-8", "surrogateescape")
    shown = without_password(text)
    if shown == text:
        return word
    return shown.encode("utf-8", "surrogateescape")[: len(word)].ljust(len(word), b"*")
