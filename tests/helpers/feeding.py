"""Answers, events, and a loop over generated video, which feed the board of a live page."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from answers import prediction

from r2p_edge.page.board import Board
from r2p_edge.page.serve import serve_page
from r2p_edge.prediction import Live, Timing


def live_answer(label="run", labels=("jump", "run", "walk"), *, best=0.7, still=False, **counts):
    """Return an answer on a stream, whose label has the best score; None for no label."""
    scores = np.full(len(labels), 0 if still else (1 - best) / (len(labels) - 1), np.float32)
    if label is not None:
        scores[labels.index(label)] = best
    numbers = {"age_ms": 42.0, "wall": 1.7e9, "skipped": 0, "dropped": 0, "gaps": 0, **counts}
    live = Live(source="door", label=label, still=still, _image=partial(np.zeros, 3), **numbers)
    timing = Timing(inference=12.0)
    return replace(prediction(live, scores), labels=tuple(labels), clips=1, timing=timing)


def event(number, kind="begin", **more):
    """Return an event, as a watch tells it."""
    return {
        "id": f"event-{number}",
        "type": kind,
        "source": "door",
        "rule": "fall>0.8",
        "label": "fall",
        "score": 0.91,
        "scores": {"fall": 0.91},
        "wall": "2026-11-29T11:55:00.000Z",
        "start": 10.0,
        "end": 12.5,
        "model": "0" * 64,
        "snapshot": None,
        **more,
    }


def level_of(level, height=48, width=64):
    """Return an image of one grey level."""
    return np.full((height, width, 3), level, np.uint8)


def decoded_jpeg(jpeg):
    """Return the pixels of a JPEG file in RGB, as OpenCV reads them."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


class Ticks:
    """A thread that shows each of some sources a new frame at each tick, and answers now and then.

    Args:
        board: the board to feed.
        pictures: for each source, the frames that it shows over and over, or None for a source
            that shows nothing.
        rate: ticks a second.

    Attributes:
        shown: ticks so far.
    """

    def __init__(self, board: Board, pictures: Mapping[str, list | None], rate: float) -> None:
        self.shown = 0
        self._board, self._pictures, self._rate = board, pictures, rate
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        # What was missed while the machine did something else is not made up for.
        while not self._over.wait(1 / self._rate):
            for name, frames in self._pictures.items():
                if frames:
                    self._board.frame(name, frames[self.shown % len(frames)], time.time())
                    if self.shown % 5 == 0:
                        self._board.answer(name, live_answer())
            self.shown += 1

    def pass_by(self, count: int) -> int:
        """Return the number of ticks once so many more have passed."""
        end = self.shown + count
        while self.shown < end:
            time.sleep(0.5 / self._rate)
        return self.shown

    def __enter__(self) -> Ticks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def page_of(*sources, listen="127.0.0.1:0", token=None, tls=None, **more) -> Iterator:
    """Serve the page of a new board; yield board and server."""
    board = Board(sources, **more)
    with serve_page(board, listen, token, tls) as server:
        yield board, server
