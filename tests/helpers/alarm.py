"""A clock for processes that hang: time is up when the process itself says so."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from r2p_edge import _isolated

RING = "import os; open(os.environ['ALARM'], 'w').close()\n"
"""Code by which a process says that its time is up; it waits until the alarm is listening."""


class Alarm:
    """A stand-in for `threading.Timer` that goes off when a process runs `RING`."""

    def __init__(self, pipe: Path) -> None:
        os.mkfifo(pipe)
        self._pipe = pipe
        self._cancelled = threading.Event()

    def __call__(self, seconds: float, function: Callable[[], None]) -> Alarm:
        """Take the arguments of a timer."""
        self._function = function
        return self

    def start(self) -> None:
        """Listen."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        self._pipe.open().close()  # waits for somebody to open it for writing
        if not self._cancelled.is_set():
            self._function()

    def cancel(self) -> None:
        """Stop listening."""
        self._cancelled.set()
        with contextlib.suppress(OSError):  # nobody listens any more
            os.close(os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK))


def set_alarm(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Put an alarm in the place of the timer of `_isolated.call`."""
    patch.setenv("ALARM", str(folder / "alarm"))
    patch.setattr(_isolated, "Timer", Alarm(folder / "alarm"))
