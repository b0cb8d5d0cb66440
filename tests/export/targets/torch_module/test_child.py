"""Work in a child process."""

import gc
import os

from r2p_edge.export.targets.torch_module.child import run_in_child

OWNER = os.getpid()
ENDED_IN = []


class Waiting:
    """Garbage of the caller's, whose end waits for threads that a child does not have."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        ENDED_IN.append(os.getpid())
        if os.getpid() != OWNER:
            os._exit(9)


def test_the_callers_garbage_is_left_alone(capfd):
    gc.disable()
    try:
        Waiting()
        assert run_in_child(lambda: gc.collect() and None) == 0
    finally:
        gc.enable()
    gc.collect()
    assert OWNER in ENDED_IN


def test_how_a_child_ends():
    assert run_in_child(lambda: None) == 0
    assert run_in_child(lambda: 1 / 0) == 1
    assert run_in_child(lambda: os.kill(os.getpid(), 15)) == -15
