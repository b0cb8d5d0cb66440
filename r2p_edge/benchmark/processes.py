"""Memory and processor time of processes, as Linux tells them; unknown elsewhere."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_MIB = 2.0**20
_FIRST_TO_END = "500"  # of -1000 to 1000: how gladly the kernel ends a process where memory is out
# The columns of a processor in /proc/stat in which it does nothing (proc(5)): idle and iowait; and
# those that are in others already: guest and guest_nice.
_IDLE, _COUNTED_TWICE = (3, 4), (8, 9)


def memory_in_use(*, peak: bool = False) -> float | None:
    """Return the MiB that this process has in memory, or the most that it has had.

    Not getrusage's, which for a new process begins with what its parent had.
    """
    found = re.search(
        rf"^Vm{'HWM' if peak else 'RSS'}:\s*(\d+) kB$", _text(_PROC / "self/status"), re.MULTILINE
    )
    return None if found is None else int(found[1]) / 1024


def memory_left() -> float | None:
    """Return the MiB that programs can still have, in the machine and in this container."""
    found = re.search(r"^MemAvailable:\s*(\d+) kB$", _text(_PROC / "meminfo"), re.MULTILINE)
    left = [] if found is None else [int(found[1]) / 1024]
    limit, used = (_text(_CGROUP / f"memory.{name}").strip() for name in ("max", "current"))
    if limit.isdecimal() and used.isdecimal():  # "max" without a limit
        left.append((int(limit) - int(used)) / _MIB)
    return min(left, default=None)


def be_ended_first() -> None:
    """Have the kernel end this process before others where memory runs out."""
    with contextlib.suppress(OSError):
        (_PROC / "self/oom_score_adj").write_text(_FIRST_TO_END)


class OtherPrograms:
    """The processor time that programs other than this one and its children take.

    Args:
        cores: numbers of the processor cores that count; default: those that this process may use.
    """

    def __init__(self, cores: Iterable[int] | None = None) -> None:
        usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        self._cores = {f"cpu{number}" for number in (usable if cores is None else cores)}
        self._started = time.monotonic()
        self._before = self._seconds(())

    def cores_in_use(self, children: Iterable[int]) -> float | None:
        """Return how many cores they have kept busy, on average, since this object was made.

        What a hypervisor gives to other machines counts too.

        Args:
            children: process numbers of the children that are alive; those that have ended and
                been waited for count by themselves.
        """
        now = self._seconds(children)
        if now is None or self._before is None:
            return None
        elapsed = time.monotonic() - self._started
        return max(0.0, (now - self._before) / elapsed) if elapsed > 0 else 0.0

    def _seconds(self, children: Iterable[int]) -> float | None:
        """Return the seconds that the cores have been busy, less those of this program."""
        ticks = 0
        lines = [line.split() for line in _text(_PROC / "stat").splitlines()]
        rows = [row for row in lines if row and row[0] in self._cores]
        if not rows:
            return None
        for _, *columns in rows:
            ticks += sum(
                int(value)
                for place, value in enumerate(columns)
                if place not in (*_IDLE, *_COUNTED_TWICE)
            )
        own = _ticks_of("self") + sum(map(_ticks_of, children))
        return (ticks - own) / float(os.sysconf("SC_CLK_TCK"))


def _ticks_of(process: str | int) -> int:
    """Return the ticks that a process and its ended children have run; 0 of one that is gone."""
    # Behind the name, which may have spaces and brackets: utime, stime, cutime, cstime.
    fields = _text(_PROC / f"{process}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _text(path: Path) -> str:
    """Return the content of a file of the kernel; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
