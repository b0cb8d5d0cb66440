"""stdout while libraries print."""

import os
import subprocess
import sys
import threading

import pytest

from r2p_edge.runtimes.quiet import stdout_to_stderr


def test_what_is_printed_goes_to_stderr(capfd):
    with stdout_to_stderr():
        print("by Python")
        os.write(1, b"by a library\n")
    print("an answer")
    said = capfd.readouterr()
    assert said.out == "an answer\n"
    assert {"by Python", "by a library"} <= set(said.err.splitlines())


def test_threads_whose_blocks_overlap(capfd):
    """The second to enter leaves after the first."""
    entered, left = threading.Event(), threading.Event()

    def second():
        with stdout_to_stderr():
            entered.set()
            left.wait()

    thread = threading.Thread(target=second)
    with stdout_to_stderr():
        thread.start()
        entered.wait()
    print("still a library's")
    left.set()
    thread.join()
    print("an answer")
    os.write(1, b"another\n")
    assert capfd.readouterr().out == "an answer\nanother\n"


@pytest.mark.parametrize("closed", [1, 2])
def test_a_process_without_one_of_the_two(closed):
    code = "from r2p_edge.runtimes.quiet import stdout_to_stderr as t\nwith t(): print(1)"
    command = f"exec {sys.executable} -c '{code}' {closed}>&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
