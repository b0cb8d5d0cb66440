"""Traps of libraries into which adapters fall, as questions to a function of an array."""

from __future__ import annotations

import threading

import numpy as np
from models import grey_frames

from r2p_edge.errors import BackendError


def clip(*values):
    """Return uint8 (1, 4, 8, 8, 3) for the brightness model."""
    return grey_frames(values, 8, 8)[None]


def answers_for_other_memory_layouts(run):
    run(clip(1, 2, 3, 4))
    return run(np.asfortranarray(clip(9, 8, 7, 6))).tolist() == [[9, 8, 7, 6]]


def answers_outlive_the_next_run(run):
    first = run(clip(1, 2, 3, 4))
    run(clip(9, 8, 7, 6))
    return first.tolist() == [[1, 2, 3, 4]]


def refuses_another_shape_of_as_many_bytes(run):
    try:
        run(clip(1, 2, 3, 4).reshape(1, 4, 8, 3, 8))
    except BackendError:
        return True
    return False


def answers_several_threads(run):
    wrong = []

    def ask(level):
        for _ in range(15):
            if run(clip(level, 0, level, level)).tolist() != [[level, 0, level, level]]:
                wrong.append(level)

    threads = [threading.Thread(target=ask, args=(level,)) for level in (5, 50, 90)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return not wrong
