"""Output of the command line: JSON, messages, and the progress of long work."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO, cast

from r2p_edge.addresses import json_without_password, without_password
from r2p_edge.errors import LowFrameRateWarning, R2PError, UnknownFrameRateWarning

BarProgress = Callable[[str, int, int], None]
"""Takes the name of a task, and how many of how many of its steps are done."""


_QUIET_SECONDS = 60.0  # without a line on long work, where there is no terminal


class StdoutError(Exception):
    """stdout cannot be written to. No OSError, which is about any other file.

    Attributes:
        cause: the reason that the system gives.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _GuardedStdout:
    """A text stream whose failures are `StdoutError`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text; return its number of characters."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise StdoutError(error) from error

    def flush(self) -> None:
        """Write out what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            raise StdoutError(error) from error


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Raise `StdoutError` where stdout fails, so that it is not taken for another file's error."""
    with contextlib.redirect_stdout(cast(TextIO, _GuardedStdout(sys.stdout))):
        yield


@contextlib.contextmanager
def shown_messages(*, verbose: bool) -> Iterator[None]:
    """Show the warnings of Python and of the package's logger on stderr.

    Args:
        verbose: show what the logger says at level INFO too.
    """
    logger, handler = logging.getLogger("r2p_edge"), _MessageHandler()
    former = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
    try:
        with warnings.catch_warnings():
            for category in (LowFrameRateWarning, UnknownFrameRateWarning):
                warnings.simplefilter("default", category)
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.setLevel(former)
        logger.removeHandler(handler)


class _MessageHandler(logging.Handler):
    """Prints records as the command line's other messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record on the stderr of the moment, which a progress bar may have replaced."""
        _print_message(record.levelname.lower(), record.getMessage())


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    warn(message)


def warn(message: object) -> None:
    """Print a warning on stderr."""
    _print_message("warning", message)


def complain(message: object) -> None:
    """Print an error on stderr."""
    _print_message("error", message)


def _print_message(kind: str, message: object) -> None:
    print(f"r2p-edge: {kind}: {without_password(str(message))}", file=sys.stderr)


def print_json(data: Any) -> None:
    """Print plain JSON types as one line; see `json_line`."""
    print(json_line(data), flush=True)


def json_line(data: Any) -> str:
    """Return plain JSON types as a line, in ASCII where stdout's encoding lacks a letter."""
    data = json_without_password(data)
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(data)
    return text


class VideoFailures:
    """Failures at single videos, which are told at once, so that the others get their answer.

    Args:
        as_json: tell them as objects on stdout, too.

    Attributes:
        code: exit code of the last one; 0 while there is none.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.code, self._as_json = 0, as_json

    @contextlib.contextmanager
    def of(self, video: str) -> Iterator[None]:
        """Tell an error of the block as that of a video."""
        try:
            yield
        except R2PError as error:
            self.code = error.exit_code
            complain(error)
            if self._as_json:
                print_json({"video": video, "error": str(error)})


class ProgressLines:
    """Tells of long work in a line on stderr, at most once a minute.

    Where there is no terminal for bars, as in the log of a service, this shows that it goes on.

    Args:
        clock: returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._told = clock, clock()

    def __call__(self, task: str, done: int, total: int) -> None:
        """Print how much of a task is done, if nothing was for a minute."""
        if self._clock() - self._told >= _QUIET_SECONDS:
            self._told = self._clock()
            _print_message("progress", f"{task}, {done} of {total}")


@contextlib.contextmanager
def progress_bars() -> Iterator[BarProgress]:
    """Show a bar for each task on stderr until the block ends; without a terminal, lines.

    Yields:
        The function that updates the bars; a task's bar appears with its first update.
    """
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ProgressLines()
        return
    with progress.Progress(
        console=console,
        transient=True,
        # By itself rich prints above the bar, and so on stderr, even if stdout is a file.
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def update(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bar.add_task(task)
            bar.update(tasks[task], completed=done, total=total)

        yield update
