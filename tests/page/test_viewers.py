"""Viewers that come and go leave nothing behind, and those that never read harm nobody."""

import json
import os
import subprocess
import sys

import pytest
from crowd import deaf
from feeding import Ticks, level_of, page_of
from paths import HELPERS
from web import ask

GREYS = [level_of(level, 360, 640) for level in range(0, 250, 25)]

COME_AND_GO = """
import json
import threading
import time
from crowd import come_and_go
from feeding import Ticks, event, level_of, page_of
from growth import use

with page_of("door") as (board, server), Ticks(board, {"door": [level_of(90, 360, 640)]}, 20):
    def visit(count):
        come_and_go(server.port, count)
        board.event(event(1))  # a stream of events notices at the next one, or in half a second
        deadline = time.monotonic() + 60
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.05)

    board.latest("door", 0)  # whose encoder has a thread
    threads = threading.active_count()
    visit(200)
    before = use()
    visit(1000)
    print(json.dumps([before, use()]))
"""


@pytest.mark.slow
def test_a_thousand_viewers_leave_nothing_behind():
    """Measured in a process of its own, in which nothing else takes or gives back memory."""
    path = os.pathsep.join(map(str, (HELPERS, HELPERS.parent / "load", os.environ["PYTHONPATH"])))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COME_AND_GO],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")  # no traceback for those who leave
    before, after = json.loads(done.stdout)
    print("descriptors, threads, megabytes:", before, after)
    assert after[:2] == before[:2]
    assert after[2] - before[2] < 5


def test_those_that_never_read_give_way():
    """Fifty of them are more than there may be; a viewer that reads is answered all the same."""
    with page_of("door") as (board, server), Ticks(board, {"door": GREYS}, 50) as ticks:
        with deaf(server.port, 50):
            board.frame("door", GREYS[0], 0)
            answered = 0
            while not answered:
                status, *_ = ask(server, "/frame.jpg")
                answered += status == 200
                ticks.pass_by(1)
        assert answered
