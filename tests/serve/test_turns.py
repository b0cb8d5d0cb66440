"""Turns: first come, first served, a limit, and leaving the queue."""

import threading

import pytest
from kserve import until

from r2p_edge.serve.turns import NotWantedError, QueueFullError, Turns


def test_turns_come_in_order():
    turns, served, threads = Turns(8), [], []
    with turns.turn():
        for number in range(8):

            def take(number=number):
                with turns.turn():
                    served.append(number)

            threads.append(threading.Thread(target=take))
            threads[-1].start()
            until(lambda length=number + 1: len(turns) == length)
        assert served == []
    for thread in threads:
        thread.join()
    assert served == list(range(8))


def test_one_at_a_time():
    turns, inside, most = Turns(100), [], []

    def take():
        for _ in range(50):
            with turns.turn():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 400
    assert max(most) == 1
    assert len(turns) == 0


def test_more_than_the_limit_are_refused():
    turns, done = Turns(1), threading.Event()

    def wait():
        with turns.turn():
            done.set()

    with turns.turn():
        turns.check()
        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: len(turns) == 1)
        with pytest.raises(QueueFullError):
            turns.check()
        with pytest.raises(QueueFullError), turns.turn():
            pass
    thread.join()
    assert done.is_set()
    turns.check()


def test_who_is_not_wanted_leaves_the_queue_and_the_next_is_served():
    turns, found = Turns(4), []

    def leave():
        try:
            with turns.turn(lambda: True):
                found.append("served")
        except NotWantedError:
            found.append("left")

    def stay():
        with turns.turn():
            found.append("stayed")

    with turns.turn():
        leaving = threading.Thread(target=leave)
        leaving.start()
        until(lambda: len(turns) == 1)
        staying = threading.Thread(target=stay)
        staying.start()
        leaving.join()
        until(lambda: len(turns) == 1)
    staying.join()
    assert found == ["left", "stayed"]


def test_a_failure_gives_the_turn_back():
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.turn():
        1 / 0  # noqa: B018
    with turns.turn() as waited:
        assert waited >= 0
