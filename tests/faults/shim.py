"""The preloaded library that counts and spoils a program's writes, and its control block."""

from __future__ import annotations

import ctypes
import mmap
import os
import shlex
import subprocess
from pathlib import Path

TRACE, KILL_BEFORE, KILL_AFTER, FULL, READ_ONLY, FORBIDDEN, BROKEN, CLOCK_BACK, SIGNAL = range(9)
"""Actions, as in shim.c: what happens at the call, or from it on."""

STEPS, LINE = 4096, 240


class Control(ctypes.Structure):
    """The structure of the same name in shim.c, in memory that all processes share."""

    _fields_ = (
        ("armed", ctypes.c_int),
        ("action", ctypes.c_int),
        ("at", ctypes.c_int),
        ("signal", ctypes.c_int),
        ("reads", ctypes.c_int),
        ("count", ctypes.c_int),
        ("group", ctypes.c_int),
        ("watched", (ctypes.c_char * 256) * 2),
        ("steps", (ctypes.c_char * LINE) * STEPS),
    )

    def arm(self, action: int, at: int = -1, *, signal: int = 0, reads: bool = False) -> None:
        """Count from 0 on, and let `action` happen at the call `at`."""
        self.armed, self.count = 0, 0
        self.action, self.at, self.signal, self.reads = action, at, signal, reads
        self.armed = 1

    def disarm(self) -> int:
        """Count no longer; return the number of calls."""
        self.armed = 0
        return int(self.count)

    def trace(self) -> list[str]:
        """Return the calls that were counted, such as "write /path"."""
        return [os.fsdecode(self.steps[number].value) for number in range(min(self.count, STEPS))]

    def watch(self, *folders: Path) -> None:
        """Count the calls below these folders, at most two."""
        for number, folder in enumerate(folders):
            self.watched[number].value = os.fsencode(folder.resolve())


def build(folder: Path) -> Path:
    """Compile the library into `folder`; return its path."""
    library, source = folder / "faults.so", Path(__file__).with_name("shim.c")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    options = ["-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run([*compiler, *options], check=True)
    return library


def open_control(file: Path) -> Control:
    """Map a control block, which is made if the file does not exist."""
    size = ctypes.sizeof(Control)
    if not file.exists():
        file.write_bytes(bytes(size))
    with file.open("r+b") as opened:
        return Control.from_buffer(mmap.mmap(opened.fileno(), size))


def environment(library: Path, control: Path) -> dict[str, str]:
    """Return the environment of a program whose writes are counted."""
    return {**os.environ, "LD_PRELOAD": str(library), "R2P_FAULTS": str(control)}
