"""External programs: how they end, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from r2p_edge.errors import BackendError
from r2p_edge.export.targets.program import end_of, run_program

# Starts a worker that inherits its output and says that it is there, as compilers for Ascend do.
PARENT = """
import os, subprocess, sys
worker = subprocess.Popen(
    [sys.executable, "-c", "print('compiling', flush=True); import time; time.sleep(300)"]
)
print(worker.pid, flush=True)
sys.stderr.write("E40024: Failed to call Python Func\\n")
sys.stderr.flush()
"""


@pytest.fixture(autouse=True)
def give_up_after_a_minute():
    """A test that waits for the worker fails, instead of holding up the others."""

    def end(number, frame):
        raise AssertionError("the worker was waited for")

    former = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def run(code, timeout=30.0):
    return run_program(
        [sys.executable, "-c", code], name="tool", timeout=timeout, by_hand=["tool", "--more"]
    )


def running():
    """Return {process: (parent, group)} of what runs on this machine; the dead do not count."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, parent, group = stat.read_text().rpartition(")")[2].split()[:3]
            if state not in "ZX":
                found[int(stat.parent.name)] = (int(parent), int(group))
    return found


def ends(is_left):
    """Wait until what was killed is gone, which the kernel does in its own time."""
    while is_left():
        os.sched_yield()


@pytest.mark.parametrize(
    ("end", "code", "word"),
    [
        ("os.kill(os.getpid(), 11)", -11, "was killed by SIGSEGV"),
        ("os._exit(139)", 139, "was killed by SIGSEGV"),
        ("os._exit(3)", 3, "ended with exit code 3"),
        ("os._exit(0)", 0, "wrote no file"),
    ],
)
def test_a_program_that_dies_before_its_worker(end, code, word):
    done = run(PARENT + end)
    assert (done.returncode, end_of(done.returncode)) == (code, word)
    assert b"E40024" in done.stderr
    (worker,) = [line for line in done.stdout.split() if line.isdigit()]
    ends(lambda: int(worker) in running())


@pytest.mark.slow
def test_a_program_that_does_not_end(monkeypatch):
    started = []
    popen = subprocess.Popen

    def noted(*arguments, **named):
        started.append(popen(*arguments, **named))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    code = PARENT + "import time; time.sleep(300)"
    with pytest.raises(BackendError, match=r"tool did not finish within 2 s; .* try tool --more"):
        run(code, timeout=2)
    (process,) = started
    assert process.returncode == -signal.SIGKILL
    ends(lambda: process.pid in {group for _, group in running().values()})


# Is interrupted by the program that it runs, and says what became of that.
INTERRUPTED = """
import os, signal, sys
from r2p_edge.export.targets.program import run_program
signal.signal(signal.SIGINT, signal.default_int_handler)
code = f"import os, signal; os.kill({os.getpid()}, signal.SIGINT); signal.pause()"
try:
    run_program([sys.executable, "-c", code], name="tool", timeout=60, by_hand=["tool"])
except KeyboardInterrupt:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("interrupted, with no child left")
"""


def test_ctrl_c_ends_the_program_too():
    """The program is in a session of its own, to which a terminal sends nothing."""
    done = subprocess.check_output([sys.executable, "-c", INTERRUPTED], text=True)
    assert done == "interrupted, with no child left\n"


def test_output_larger_than_a_pipe_holds():
    done = run("import sys; sys.stdout.write('x' * 1000000); sys.stderr.write('y' * 1000000)")
    assert (len(done.stdout), len(done.stderr)) == (1000000, 1000000)
