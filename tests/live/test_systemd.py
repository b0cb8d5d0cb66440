"""Messages to systemd."""

import contextlib
import socket

import numpy as np
import pytest
from live import TICK, watch

from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.systemd import Notifier

pytestmark = pytest.mark.usefixtures("nothing_is_left")


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path):
    """Open a service manager's socket; yield it and its address as systemd writes it."""
    path = str(tmp_path / "notify") if request.param == "file" else f"@{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path.replace("@", "\0", 1))
        receiver.setblocking(False)
        yield receiver, path


def messages(receiver):
    """Return what was sent since the last time."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(receiver.recv(100).decode())
    return found


@pytest.mark.slow
def test_systemd_is_notified(manager, predictor, clip):
    receiver, path = manager
    now = iter(range(10**6))
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}
    notifier = Notifier(environment, clock=lambda: float(next(now)))
    capture = FileCapture(str(clip), predictor.spec.clip, TICK)
    with watch(predictor, capture, policy="all", stride=1, notifier=notifier) as answers:
        told = [message for _ in answers for message in messages(receiver)]
    told += messages(receiver)
    assert told.count("READY=1") == 1
    assert told.count("WATCHDOG=1") >= 17
    assert told[-1] == "STOPPING=1"


def test_the_watchdog_is_fed_as_often_as_it_wants(manager):
    receiver, path = manager
    now = 0.0
    environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}
    notifier = Notifier(environment, clock=lambda: now)
    for now in np.arange(0, 20.5, 0.5):  # noqa: B007
        notifier.alive()
    assert messages(receiver) == ["WATCHDOG=1"] * 5
    Notifier({**environment, "WATCHDOG_PID": "1"}).alive()  # another process is watched
    Notifier({"NOTIFY_SOCKET": path}).alive()
    assert messages(receiver) == []


def test_a_manager_that_is_busy_is_notified_later(manager):
    receiver, path = manager
    notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}, clock=lambda: 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"full", path.replace("@", "\0", 1))
    notifier.ready()
    notifier.alive()
    assert set(messages(receiver)) == {"full"}
    for _ in range(2):
        notifier.ready()
        notifier.alive()
    assert messages(receiver) == ["READY=1", "WATCHDOG=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere"}])
def test_nobody_listens(environment):
    notifier = Notifier(environment)
    notifier.ready()
    notifier.alive()
