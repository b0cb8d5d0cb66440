"""Memory and processor time of processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from r2p_edge.benchmark import processes
from r2p_edge.benchmark.processes import OtherPrograms, memory_in_use, memory_left

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")

STAT = """cpu  1 2 3 4 5 6 7 8 9 10
cpu0 {user} 10 20 500 50 1 2 {steal} 7 0
cpu1 100 0 0 0 0 0 0 0 0 0
intr 5
"""
OWN = "7 (a ) name) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 1 0 5"
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """An imitation of /proc; calling it sets the times, in seconds."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    monkeypatch.setattr(processes, "_CGROUP", tmp_path)
    now = [0.0]
    monkeypatch.setattr(processes.time, "monotonic", lambda: now[0])

    def at(seconds, *, user=0.0, steal=0.0, own=0.0, child=0.0):
        now[0] = seconds
        text = STAT.format(user=int(user * TICK), steal=int(steal * TICK))
        (tmp_path / "stat").write_text(text)
        for process, spent in (("self", own), ("8", child)):
            (tmp_path / process).mkdir(exist_ok=True)
            (tmp_path / process / "stat").write_text(OWN.format(ticks=int(spent * TICK)))

    at(0)
    return at


def test_other_programs_are_what_is_left_of_the_busy_time(proc):
    watch = OtherPrograms(cores=[0])
    proc(10, user=8, steal=2, own=3, child=2)
    assert watch.cores_in_use([8]) == pytest.approx(0.5)
    assert watch.cores_in_use([8, 99]) == pytest.approx(0.5)  # one that is gone
    assert watch.cores_in_use([]) == pytest.approx(0.7)


def test_this_program_alone_is_not_busy(proc):
    watch = OtherPrograms(cores=[0])
    proc(10, user=8, own=5, child=3.5)  # rounded otherwise
    assert watch.cores_in_use([8]) == 0


def test_what_is_not_known_is_none(proc, tmp_path):
    (tmp_path / "stat").unlink()
    assert OtherPrograms().cores_in_use([]) is None
    assert memory_left() is None
    assert memory_in_use() is None


def test_memory_left_is_that_of_the_machine_or_of_the_container(proc, tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert memory_left() == 2
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1048576\n")
    assert memory_left() == 2
    (tmp_path / "memory.max").write_text("2097152\n")
    assert memory_left() == 1


def test_the_peak_stays_when_memory_is_given_back():
    # In a process of its own: libraries that others have loaded may keep what is freed.
    code = """
import numpy as np
from r2p_edge.benchmark.processes import memory_in_use
found = [memory_in_use()]
block = np.ones(2**23)  # 64 MiB
found.append(memory_in_use())
del block
print(*found, memory_in_use(), memory_in_use(peak=True))
"""
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    before, during, after, peak = map(float, output.split())
    assert during > before + 50
    assert peak > during - 1  # the kernel counts a little late
    assert after < during - 50
