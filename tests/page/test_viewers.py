"""Viewers that come and go leave nothing behind, and those that never read harm nobody."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from crowd import deaf
from feeding import Ticks, page_of
from paths import HELPERS, ROOT
from web import ask

# Large as JPEG, so that the buffers of those that do not read are full soon.
NOISE = list(np.random.default_rng(0).integers(0, 255, (4, 360, 640, 3), np.uint8))

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

    while board.latest("door", 1) is None:  # whose encoder has a thread from then on
        pass
    threads = threading.active_count()
    visit(200)
    before = use()
    visit(1000)
    print(json.dumps([before, use()]))
"""


@pytest.mark.slow
def test_a_thousand_viewers_leave_nothing_behind():
    """Measured in a process of its own, in which nothing else takes or gives back memory."""
    paths = (HELPERS, HELPERS.parent / "load", os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", COME_AND_GO],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
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


@pytest.mark.slow
def test_those_that_never_read_give_way():
    """Fifty of them are more than there may be; a viewer that reads is answered all the same."""
    with (
        page_of("door") as (board, server),
        Ticks(board, {"door": NOISE}, 50) as ticks,
        deaf(server.port, 50),
    ):
        assert server.open_connections <= 32 + 16
        seen = set()
        while len(seen) < 10:  # once what they were sent has filled their buffers
            with contextlib.suppress(ConnectionError):
                status, headers, _ = ask(server, "/next?source=door&after=0")
                if status == 200:
                    seen.add(headers["X-R2P"])
            ticks.pass_by(1)


@pytest.mark.long
def test_they_cost_the_model_nothing():
    """Medians of interleaved rounds; see the program for what it measures."""
    program = ROOT / "tests" / "benchmarks" / "page.py"
    done = subprocess.run(
        [sys.executable, program, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    print(found)
    assert found["shares"]["50 sockets that never read"] >= 0.95
