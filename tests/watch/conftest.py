"""Fixtures of the tests of a watch."""

import gc
import threading

import pytest

from r2p_edge.live import predictions
from r2p_edge.live.capture import reconnecting
from r2p_edge.watch import watching


@pytest.fixture
def no_thread_is_left(monkeypatch):
    """Check that a test leaves no thread; and let none of it wait long."""
    monkeypatch.setattr(reconnecting, "BACK_OFF", (0.01, 0.1))
    monkeypatch.setattr(predictions, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(predictions, "CLOSE_SECONDS", 60.0)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.01)
    before = set(threading.enumerate())
    yield
    gc.collect()
    assert set(threading.enumerate()) <= before
