"""Processes that share the videos of an archive, and outlive what one video does to one of them."""

from __future__ import annotations

import logging
import selectors
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from r2p_edge._isolated import Child, ProcessFailedError
from r2p_edge.archive.classifier import Task
from r2p_edge.archive.listed import Listed
from r2p_edge.archive.rows import ArchiveRow, failed_row
from r2p_edge.archive.worker import ANSWER
from r2p_edge.errors import BackendError

_LOOK_SECONDS = 1.0  # between looks for workers that hang
_log = logging.getLogger(__name__)

_IN_A_ROW = 10
"""Videos after whose failures, with no answer between them, the fault is not the videos'."""


class _Worker:
    """A process, and the videos that it has been handed and not answered.

    Args:
        arguments: see `answer_tasks`.
        alone: it gets a single video, one of a process that ended.
    """

    def __init__(self, arguments: dict[str, Any], alone: bool) -> None:
        self.child = Child(ANSWER, arguments)
        self.alone = alone
        self.hands: dict[int, Listed] = {}
        self.heard = 0.0  # time of its last word
        self._fresh = True

    def fresh(self) -> bool:
        """Return True once, for the video of a worker that is alone with it."""
        fresh, self._fresh = self._fresh, False
        return fresh


class WorkerPool:
    """Processes that answer videos.

    A video whose process ends, or is not done with it in time, is tried once more in a process
    that has no other; if that ends too, the video's row is the error.

    Args:
        arguments: see `answer_tasks`.
        workers: number of processes.
        timeout: seconds without a word after which a process is taken to hang.
        opened: called with the columns that tell of the model, once it is open in a process.
        answered: called with the number and the rows of each video.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        arguments: dict[str, Any],
        *,
        workers: int,
        timeout: float,
        opened: Callable[[dict[str, str]], None],
        answered: Callable[[int, list[ArchiveRow]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._arguments, self._workers, self._timeout = arguments, workers, timeout
        self._opened, self._answered = opened, answered
        self._selector = selectors.DefaultSelector()
        self._suspects: deque[Task] = deque()
        self._identity: dict[str, str] = {}
        self._in_a_row = 0

    def run(self, tasks: Iterable[Task]) -> None:
        """Have all videos answered.

        Raises:
            R2PError: the model cannot be opened, or fails.
            BackendError: processes end whatever they are given.
        """
        self._tasks: Iterator[Task] | None = iter(tasks)
        try:
            for _ in range(self._workers):
                self._start()
            while live := self._selector.get_map():
                for key, _ in self._selector.select(min(self._timeout, _LOOK_SECONDS)):
                    self._listen(key.data)
                now = self._clock()
                for worker in [key.data for key in live.values()]:
                    if worker.hands and now - worker.heard > self._timeout:
                        worker.child.kill(f"it did not finish within {self._timeout:g} s")
        finally:
            for key in [*self._selector.get_map().values()]:
                self._end(key.data)
            self._selector.close()

    def _start(self) -> None:
        worker = _Worker(self._arguments, alone=bool(self._suspects))
        self._selector.register(worker.child, selectors.EVENT_READ, worker)

    def _end(self, worker: _Worker) -> None:
        self._selector.unregister(worker.child)
        worker.child.close()

    def _listen(self, worker: _Worker) -> None:
        """Take a worker's news; where it has ended, start another if there is work left."""
        worker.heard = self._clock()
        try:
            for kind, content in worker.child.news():
                if kind == "progress":
                    self._hear(worker, content)
                    continue
                self._end(worker)
                if self._suspects or self._tasks is not None:
                    self._start()
                return
        except ProcessFailedError as error:
            self._end(worker)
            self._bury(worker, error)

    def _hear(self, worker: _Worker, said: dict[str, Any]) -> None:
        if "wanted" in said:
            task = self._next(worker)
            worker.child.send(task)
            if task is not None:
                number, listed = task
                worker.hands[number] = listed
        elif "answer" in said:
            number, rows = said["answer"]
            self._in_a_row = 0
            del worker.hands[number]
            self._answered(number, rows)
        else:
            self._identity = said["identity"]
            self._opened(self._identity)

    def _next(self, worker: _Worker) -> Task | None:
        """Return the video that a worker gets next; None to let it end."""
        if worker.alone:
            return self._suspects.popleft() if self._suspects and worker.fresh() else None
        task = next(self._tasks, None) if self._tasks is not None else None
        if task is None:
            self._tasks = None
        return task

    def _bury(self, worker: _Worker, error: ProcessFailedError) -> None:
        """See to the videos of a process that has ended, and start another."""
        _log.info("a worker ended with %d videos in hand: %s", len(worker.hands), error)
        if not worker.hands:
            if not self._selector.get_map():
                raise BackendError(
                    f"the process that is to answer videos ended before its first one: {error}; "
                    "give fewer workers, or try the model on a single video"
                )
            return  # the others go on without it
        if worker.alone:
            ((number, listed),) = worker.hands.items()
            self._in_a_row += 1
            if self._in_a_row == _IN_A_ROW:
                raise BackendError(
                    f"the processes of {_IN_A_ROW} videos in a row ended twice each, the last one "
                    f"on {listed.video}: {error}; try the model on a single video"
                )
            why = f"{listed.video} ended its process twice: {error}; try it by itself"
            self._answered(number, [failed_row(listed, why, self._identity)])
        else:
            self._suspects.extend(worker.hands.items())
        if self._suspects or self._tasks is not None:
            self._start()
