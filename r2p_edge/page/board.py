"""The board on which a loop over cameras pins what happens, for viewers to read."""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from r2p_edge.addresses import json_without_password, without_password
from r2p_edge.errors import R2PError
from r2p_edge.page.counts import BoardCounts
from r2p_edge.page.events import EventRing
from r2p_edge.page.jpeg_cell import JpegCell
from r2p_edge.page.shown import Shown, ShownPicture, SourceState
from r2p_edge.prediction import Prediction

LOOKED_SECONDS = 3.0
"""Seconds after a viewer's last request for which pictures are kept for it."""

_LOOKED_AT = 0.06  # seconds from one kept picture to the next: no camera of 15 a second loses any
_UNSEEN = 1.0  # the same while nobody looks: the last one is shown when the source is lost
_NOTE = 300  # letters

_log = logging.getLogger(__name__)


class Board:
    """The newest picture, answer and state of each source, and the newest events.

    One loop calls `frame`, `answer`, `state` and `event`, which are cheap while nobody looks: a
    picture is converted and encoded only when a viewer asks for it. It may be overwritten only
    after the next one of its source. Safe to share between threads.

    Args:
        sources: names of the sources, in the order in which they are shown; others are added.
        about: facts of the model to show, such as {"model": ..., "runtime": ..., "device": ...,
            "precision": ...}.
        longest: greatest number of pixels of the longer side of the pictures that are shown.
        clock: returns seconds of a monotonic clock.

    Attributes:
        about: as given.
        events: newest events.
        counts: numbers for Prometheus.
    """

    def __init__(
        self,
        sources: Iterable[str] = (),
        *,
        about: Mapping[str, str] | None = None,
        longest: int = 640,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.about = dict(about or {})
        self.events = EventRing()
        self.counts = BoardCounts(self.about)
        self.counts.metrics.before_reading(self._count_ages)
        self._longest, self._clock = longest, clock
        self._encoder = ThreadPoolExecutor(1, "r2p_edge pictures")
        self._changed = threading.Condition()
        self._number = 0
        self._sources: dict[str, Shown] = {}
        self._by_name: dict[str, Shown] = {}  # which shows no password
        for name in sources:
            self._shown(name)

    def frame(self, source: str, picture: ShownPicture, wall_s: float) -> None:
        """Show a frame; its source is live then.

        Args:
            source: name of the source.
            picture: picture in RGB, uint8 (H, W, 3), planes, or a function that returns one of
                them, which is called at once or never.
            wall_s: seconds since 1970 at which it was captured.
        """
        now = self._clock()
        with self._changed:
            shown = self._shown(source)
            self.counts.frames.add(1, shown.name)
            shown.seen, shown.wall = now, wall_s
            if shown.state != "live":
                self._set_state(shown, "live", "")
            watched = now - shown.looked < LOOKED_SECONDS
            if now - shown.kept < (_LOOKED_AT if watched else _UNSEEN):
                return
            shown.kept = now
        try:
            pixels = picture() if callable(picture) else picture
        except R2PError as error:  # of a conversion; the model may do without it
            _log.debug("%s: a frame cannot be shown: %s", source, error)
            return
        shown.cell.put(pixels)
        with self._changed:
            shown.pictured = self._change(shown)

    def answer(self, source: str, prediction: Prediction) -> None:
        """Show an answer.

        Args:
            source: name of the source.
            prediction: the answer; the frame in it is not held on to.
        """
        with self._changed:
            shown = self._shown(source)
            self.counts.add_answer(shown.name, prediction)
            shown.keep_answer(self._change(shown), prediction)

    def state(self, source: str, state: SourceState, note: str = "") -> None:
        """Show the state of a source's connection.

        Args:
            source: name of the source.
            state: "opening", "live", "lost" or "ended".
            note: a sentence about it, for example why it is lost; passwords in it are hidden.
        """
        with self._changed:
            self._set_state(self._shown(source), state, note)

    def event(self, event: Mapping[str, Any]) -> None:
        """Show an event.

        Args:
            event: JSON types, among them "id", "type" ("begin", "update" or "end"), "source",
                "rule", "label", "score", "wall" (ISO 8601), "start" and "end" (seconds).
        """
        shown = json_without_password(dict(event))
        self.counts.add_event(shown)
        self.events.add(shown)
        with self._changed:
            self._change(None)

    @property
    def newest(self) -> int:
        """Number of the newest change; 0 before the first."""
        return self._number

    def names(self) -> list[str]:
        """Return the names of the sources, as viewers know them."""
        return list(self._by_name)

    def read(self, name: str | None, after: int) -> tuple[dict[str, Any], list[bytes]]:
        """Return what a viewer is to show, and the pictures that it has not seen yet.

        Args:
            name: name of the source; None for all.
            after: number of the last change that it has seen; 0 for none.

        Returns:
            JSON types, among them "n", the number of the newest change, and "sources", each with
            the number of "bytes" of its picture, 0 for none; and the pictures as JPEG files.

        Raises:
            KeyError: there is no such source.
            VideoError: see `JpegCell.get`.
        """
        now = self._clock()
        with self._changed:
            shown = self._asked(name)
            number = self._number
            rows = [each.to_dict(now) for each in shown]
            fresh = [each.pictured > after for each in shown]
        pictures = [each.cell.get() if new else None for each, new in zip(shown, fresh)]
        for row, picture in zip(rows, pictures):
            row["bytes"] = len(picture or b"")
        told = {
            "run": self.events.run,
            "n": number,
            "event": self.events.newest,
            "about": self.about,
            "sources": rows,
        }
        return told, [picture for picture in pictures if picture]

    def wait(self, name: str | None, after: int, seconds: float, *, picture: bool = False) -> bool:
        """Wait for something new; return False if nothing came in time.

        The sources count as looked at.

        Args:
            name: name of the source; None for all.
            after: number of the last change that is known.
            seconds: greatest time to wait.
            picture: wait for a picture alone.
        """
        with self._changed:
            shown = self._asked(name)
            for each in shown:
                each.looked = self._clock()

            def newest() -> int:
                if name is None and not picture:
                    return self._number
                return max(each.pictured if picture else each.changed for each in shown)

            return self._changed.wait_for(lambda: newest() > after, seconds)

    def latest(self, name: str, seconds: float) -> bytes | None:
        """Return the picture of a source as a JPEG file; None if there is none.

        If nobody looked before, wait at most so long for a new one.

        Raises:
            KeyError: there is no such source.
            VideoError: see `JpegCell.get`.
        """
        with self._changed:
            (shown,) = self._asked(name)
            unseen = self._clock() - shown.looked >= LOOKED_SECONDS
            number, live = shown.pictured, shown.state == "live"
        if unseen and live:
            self.wait(name, number, seconds, picture=True)
        with self._changed:
            shown.looked = self._clock()
        return shown.cell.get()

    def answers(self, name: str, after: int) -> list[dict[str, Any]]:
        """Return the answers of a source after a number that are still kept, each with its "n".

        Raises:
            KeyError: there is no such source.
        """
        with self._changed:
            kept = list(self._by_name[name].answers)
        return [{"n": number, **answer} for number, answer in kept if number > after]

    def stale(self, seconds: float) -> int:
        """Return the number of sources that have given no frame for so long, and have not ended."""
        now = self._clock()
        with self._changed:
            return sum(
                shown.state != "ended" and (shown.seen is None or now - shown.seen > seconds)
                for shown in self._sources.values()
            )

    def _shown(self, source: str) -> Shown:
        """Return a source, which is new if nobody has heard of it."""
        if (found := self._sources.get(source)) is None:
            name = without_password(source)
            count = functools.partial(self.counts.pictures.add, 1, name)
            cell = JpegCell(self._longest, self._encoder, count)
            found = self._sources[source] = self._by_name[name] = Shown(name, cell)
        return found

    def _asked(self, name: str | None) -> list[Shown]:
        return list(self._by_name.values()) if name is None else [self._by_name[name]]

    def _change(self, shown: Shown | None) -> int:
        """Return the number of a new change, and let viewers know of it."""
        self._number += 1
        if shown is not None:
            shown.changed = self._number
        self._changed.notify_all()
        return self._number

    def _set_state(self, shown: Shown, state: SourceState, note: str) -> None:
        if state == "live" and shown.state == "lost":
            shown.reconnects += 1
            self.counts.reconnects.add(1, shown.name)
        shown.state, shown.note = state, without_password(note)[:_NOTE]
        self._change(shown)

    def _count_ages(self) -> None:
        now = self._clock()
        with self._changed:
            for shown in self._sources.values():
                self.counts.up.set(shown.state == "live", shown.name)
                if shown.seen is not None:
                    self.counts.age.set(max(now - shown.seen, 0.0), shown.name)
