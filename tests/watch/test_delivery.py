"""Queues of sinks: they drop the oldest, count, and never let the watch wait."""

import logging
import threading
import time

import pytest
from live import Clock
from watching import message

from r2p_edge.watch.delivery import DeliveryError, SinkCounts, SinkQueue, finish_all


class Slow:
    """A sink that takes a message when it is told to."""

    name = "slow"

    def __init__(self):
        self.taken, self.closed = [], False
        self.started, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def send(self, message, stop):
        self.started.release()
        while not self.go.acquire(timeout=0.01):
            if stop.is_set():
                raise DeliveryError("stopped")
        self.taken.append(message["id"])

    def close(self):
        self.closed = True


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_full_queue_drops_the_oldest_and_counts(caplog):
    sink = Slow()
    queue = SinkQueue(sink, size=3, clock=Clock())
    queue.put(message(0))
    assert sink.started.acquire(timeout=60)
    for number in range(1, 8):
        queue.put(message(number))  # returns at once
    assert queue.counts == SinkCounts(sent=0, failed=0, dropped=4, waiting=4)
    sink.go.release(4)
    wait_until(lambda: queue.counts.waiting == 0)
    assert sink.taken == ["id0", "id5", "id6", "id7"]
    assert queue.counts == SinkCounts(sent=4, failed=0, dropped=4, waiting=0)
    finish_all([queue], 60)
    assert sink.closed
    texts = [record.getMessage() for record in caplog.records]
    assert texts == [
        "slow: 1 message dropped, as it is too slow",
        "slow: lost 4 of 8 messages: 4 dropped, as it is too slow",
    ]


def test_failures_are_counted_and_the_next_message_is_tried(caplog):
    class Failing(Slow):
        def send(self, message, stop):
            if message["id"] == "id1":
                raise DeliveryError("no room")
            self.taken.append(message["id"])

    sink = Failing()
    queue = SinkQueue(sink)
    for number in range(3):
        queue.put(message(number))
    finish_all([queue], 60)
    assert sink.taken == ["id0", "id2"]
    assert queue.counts == SinkCounts(sent=2, failed=1, dropped=0, waiting=0)
    assert [r.getMessage() for r in caplog.records] == [
        "slow: 1 message not delivered (no room)",
        "slow: lost 1 of 3 messages: 1 not delivered (no room)",
    ]


def test_a_sink_that_hangs_is_left_behind(caplog):
    hangs, release = Slow(), threading.Event()
    hangs.send = lambda *_: release.wait(60)  # and does not look whether it is to stop
    queue = SinkQueue(hangs)
    for number in range(3):
        queue.put(message(number))
    begun = time.monotonic()
    finish_all([queue], 0.1)
    assert time.monotonic() - begun < 30
    assert not hangs.closed
    (record,) = caplog.records
    assert record.getMessage() == "slow: lost 3 of 3 messages: 3 too late for the end"
    assert record.levelno == logging.WARNING
    release.set()
    queue._thread.join(60)


def test_other_errors_are_kept_for_the_watch():
    class Broken(Slow):
        def send(self, message, stop):
            raise ZeroDivisionError("a fault")

    queue = SinkQueue(Broken())
    queue.put(message())
    wait_until(lambda: queue.error is not None)
    assert isinstance(queue.error, ZeroDivisionError)
    queue.put(message())  # is of no use, and does no harm
    finish_all([queue], 60)


@pytest.mark.parametrize("count", [0, 5])
def test_what_waits_is_delivered_before_the_end(count):
    sink = Slow()
    queue = SinkQueue(sink)
    for number in range(count):
        queue.put(message(number))
    for _ in range(count):
        sink.go.release()
    finish_all([queue], 60)
    assert len(sink.taken) == count
    assert sink.closed
