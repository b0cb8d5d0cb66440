"""Pictures and films of events, which are written before the events are told to anybody."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from r2p_edge.artifact.atomic import atomic_write
from r2p_edge.errors import OutputError, R2PError, one_line
from r2p_edge.frame import Image
from r2p_edge.live.reports import DropReport
from r2p_edge.pictures.encoding import reduced_jpeg_of
from r2p_edge.prediction import utc_text
from r2p_edge.watch.clips import ClipFrame, write_clip
from r2p_edge.watch.events import Event

_PATIENCE = 5.0
"""Seconds that an event waits for its picture; then it is told without."""

_LONGEST = 1920
"""Pixels of the longer side of a snapshot at most."""


class PictureCounts(NamedTuple):
    """Numbers of pictures and films that were written, and that failed or were too late."""

    written: int
    failed: int


@dataclass(eq=False)
class _Waiting:
    """An event on its way, and what it waits for."""

    event: Event
    image: Callable[[], Image] | None
    film: list[ClipFrame] | None
    due: float
    ready: bool = False


class EventPictures:
    """A thread that writes pictures of events, and hands on the events in their order.

    A disk that is full or hangs costs the picture, which is counted and logged, and not the event.

    Args:
        folder: where to write; None to write nothing.
        tell: takes the events, with the paths of what was written; it must return at once.
        clock: returns seconds of a monotonic clock.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | Path | None,
        tell: Callable[[Event], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is not None:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"the folder {folder} for pictures cannot be made ({error.strerror}); choose "
                    "another"
                ) from error
        self._tell, self._clock = tell, clock
        self._snapshots: dict[str, str] = {}  # of events that go on
        self._waiting: deque[_Waiting] = deque()
        self._jobs: deque[_Waiting] = deque()
        self._changed, self._telling = threading.Condition(), threading.Lock()
        self._written = self._failed = 0
        self._closing = False
        self._failures = DropReport("the watch", "%s: %s not written (%s)", "picture")
        self._thread = threading.Thread(target=self._work, name="r2p_edge pictures", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> PictureCounts:
        """Numbers of what was written, and of what was not."""
        with self._changed:
            return PictureCounts(self._written, self._failed)

    def put(
        self,
        event: Event,
        image: Callable[[], Image] | None = None,
        film: list[ClipFrame] | None = None,
    ) -> None:
        """Take an event to write the picture of and to hand on; this returns at once.

        Args:
            event: the event.
            image: returns its picture, uint8 RGB (H, W, 3); None for none.
            film: the pictures of its film; None for none.
        """
        each = _Waiting(event, image, film, self._clock() + _PATIENCE)
        each.ready = self._folder is None or (image is None and film is None)
        with self._changed:
            self._waiting.append(each)
            if not each.ready:
                self._jobs.append(each)
                self._changed.notify_all()
        self.look_after()

    def look_after(self) -> None:
        """Hand on the events that are ready, and those that have waited for too long."""
        with self._telling:
            while True:
                with self._changed:
                    first = self._waiting[0] if self._waiting else None
                    if first is None or not (first.ready or self._clock() >= first.due):
                        return
                    self._waiting.popleft()
                    late = not first.ready
                    if late and first in self._jobs:
                        self._jobs.remove(first)
                    event = self._with_snapshot(first.event)
                if late:
                    self._fail("the disk is too slow")
                self._tell(event)

    def _with_snapshot(self, event: Event) -> Event:
        """Return the end of an event with the path that its begin had."""
        if event.type == "begin" and event.snapshot is not None:
            self._snapshots[event.id] = event.snapshot
        if event.type == "end":
            return dataclasses.replace(event, snapshot=self._snapshots.pop(event.id, None))
        return event

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closing)
                if not self._jobs:
                    return
                each = self._jobs.popleft()
            try:
                event = self._write(each)
            except (R2PError, OSError) as error:
                self._fail(one_line(error))
                event = each.event
            with self._changed:
                each.event, each.ready = event, True
            self.look_after()

    def _write(self, each: _Waiting) -> Event:
        assert self._folder is not None
        event = each.event
        if each.image is not None:
            path = self._path(event, ".jpg")
            atomic_write(path, reduced_jpeg_of(each.image(), _LONGEST))
            event = dataclasses.replace(event, snapshot=str(path))
        if each.film is not None:
            path = self._path(event, ".mp4")
            write_clip(path, each.film)
            event = dataclasses.replace(event, clip=str(path))
        with self._changed:
            self._written += 1
        return event

    def _path(self, event: Event, suffix: str) -> Path:
        assert self._folder is not None
        moment = re.sub(r"[-:]|\.\d+", "", utc_text(event.wall))
        names = (re.sub(r"[^\w.-]", "_", name)[:60] for name in (event.source, event.rule))
        return self._folder / f"{'-'.join([moment, *names, event.id[:8]])}{suffix}"

    def _fail(self, reason: str) -> None:
        with self._changed:
            self._failed += 1
            self._failures.add(1, self._clock(), reason)

    def close(self, seconds: float) -> None:
        """Write what waits for so many seconds, then hand on all events without."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        with self._changed:
            for each in self._waiting:
                each.due = -float("inf")
        self.look_after()
        self._failures.finish()
