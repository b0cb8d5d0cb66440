"""A function of this package, called in a Python process of its own.

Inference libraries disturb each other in one process, where they share, among other things, their
copies of the same thread pools; and one that does not fit the machine may print, hang or end the
process.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from threading import Timer
from typing import IO, Any

from r2p_edge import errors
from r2p_edge.addresses import without_password
from r2p_edge.errors import BackendError, OutputError, R2PError

# With the import path of this process, and without the current folder, which -c puts in front.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv[2:]; from r2p_edge import _isolated; _isolated.serve()"
)
_GRACE = 5.0  # seconds
_PACKAGE = logging.getLogger("r2p_edge")
_log = logging.getLogger(__name__)
_relayed_warnings: set[str] = set()


class ProcessFailedError(BackendError):
    """The function did not return: its process ended, or it raised an error of another library."""


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    progress: Callable[[Any], None] | None = None,
    timeout: float | None = None,
) -> Any:
    """Call `function(report, **arguments)` in a new Python process and return its result.

    The warnings that it gives and the records that it logs are given and logged here. Output that
    libraries print there is not shown.

    Args:
        function: "module:name", of this package.
        arguments: plain JSON types, as the result must be.
        progress: called here with whatever the function calls `report` with there.
        timeout: seconds after which the process is killed; None to wait for ever.

    Raises:
        R2PError: the function raised it; of the nearest class in `r2p_edge.errors`.
        ProcessFailedError: the function raised another exception, or its process ended, as one
            does whose library crashes.
    """
    with Child(function, arguments) as child:
        child.end_tasks()
        with child._killed_after(timeout):
            while True:
                for kind, content in child.news():
                    if kind == "result":
                        return content
                    if progress is not None:
                        progress(content)


class Child:
    """A Python process that calls one function of this package; it ends with the `with` block.

    Args:
        function, arguments: see `call`, which says what the function gets.

    Raises:
        OutputError: there is no room for a temporary file.
        ProcessFailedError: the process cannot be started.
    """

    def __init__(self, function: str, arguments: dict[str, Any]) -> None:
        try:
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise OutputError(
                f"temporary files cannot be written ({error.strerror}); make room for them, or set "
                "TMPDIR to another folder"
            ) from error
        self._killed_for: str | None = None
        self._begun: list[bytes] = []  # a line whose end has not come yet
        command = [sys.executable, "-c", _COMMAND, function, *sys.path]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
            )
        except OSError as error:
            self._stderr.close()
            raise ProcessFailedError(
                f"a Python process of its own could not be started ({error.strerror})"
            ) from error
        self.send({"arguments": arguments, "level": _PACKAGE.getEffectiveLevel()})

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        self.close(grace=_GRACE if interrupted else 0.0)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def close(self, *, grace: float = 0.0) -> None:
        """End the process, if it has not ended. Calling it twice is allowed.

        Args:
            grace: seconds for it to end its own programs and remove its temporary files.
        """
        if grace and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._process.kill()
        with self._process:
            self.end_tasks()
        self._stderr.close()

    def fileno(self) -> int:
        """Return the descriptor that can be read once there is news."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def send(self, content: Any) -> None:
        """Send plain JSON types, which the function reads as a line of its stdin."""
        assert self._process.stdin is not None
        # The end of a process that does not read them is in the news.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(content).encode() + b"\n")
            self._process.stdin.flush()

    def ask(self, content: Any, *, timeout: float | None = None) -> Any:
        """Send plain JSON types, and return what the function reports next; see `hear`."""
        self.send(content)
        return self.hear(timeout=timeout)

    def hear(self, *, timeout: float | None = None) -> Any:
        """Wait for what the function reports, or returns, next.

        Args:
            timeout: see `call`, and so are the errors.
        """
        with self._killed_after(timeout):
            while True:
                said = [content for _, content in self.news()]
                if said:
                    return said[0]

    def end_tasks(self) -> None:
        """Close the function's stdin."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    @contextlib.contextmanager
    def _killed_after(self, timeout: float | None) -> Iterator[None]:
        timer = Timer(timeout or 0, lambda: self.kill(f"it did not finish within {timeout:g} s"))
        try:
            if timeout is not None:
                timer.start()
            yield
        finally:
            timer.cancel()

    def kill(self, reason: str) -> None:
        """End the process; the news is then that it failed for this reason."""
        self._killed_for = reason
        self._process.kill()

    def news(self) -> Iterator[tuple[str, Any]]:
        """Wait for what the process says next; yield what the function reports, or has returned.

        Its warnings and records are given and logged here.

        Yields:
            ("progress", what it reports), and at the end ("result", what it returns).

        Raises:
            R2PError, ProcessFailedError: see `call`.
        """
        block = os.read(self.fileno(), 1 << 16)
        if not block:
            self._process.wait()
            raise ProcessFailedError(
                self._killed_for or _end(self._process.returncode, self._stderr)
            )
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._begun, lines[0]])
            self._begun.clear()
        self._begun.append(rest)
        for line in lines:
            kind, content = json.loads(line)
            if kind == "error":
                raise getattr(errors, content["type"])(content["message"])
            if kind == "failure":
                said = without_password(content["traceback"])
                _log.debug("a process of its own failed:\n%s", said)
                raise ProcessFailedError(f"it failed ({content['message']})")
            if kind == "warning":
                named = getattr(errors, content["type"], None)
                category = named or getattr(builtins, content["type"])
                warnings.warn(content["message"], category, stacklevel=4)
            elif kind == "log":
                _relay(**content)
            else:
                yield kind, content


def _relay(name: str, level: int, message: str) -> None:
    """Log a record of a process; a warning that an earlier one gave too is not repeated."""
    if level >= logging.WARNING:
        if message in _relayed_warnings:
            return
        _relayed_warnings.add(message)
    logging.getLogger(name).log(level, "%s", message)


def _end(code: int, stderr: IO[bytes]) -> str:
    """Return how a process ended, and the last line that it printed."""
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"
    if -code == signal.SIGKILL:
        how += ", as where memory runs out"
    stderr.seek(0)
    words = stderr.read().decode(errors="replace").split("\n")
    last = next((" ".join(line.split()) for line in reversed(words) if line.strip()), "")
    return f"it ended Python ({how})" + (f", which said last: {last[:200]}" if last else "")


def serve() -> None:
    """Answer one `call` from the child's side: messages on stdout, one JSON text a line.

    The first line of stdin has the arguments; the function may read more.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # what libraries print must not get between our lines

        one_at_a_time = threading.Lock()  # records and warnings come from several threads

        def send(kind: str, content: Any) -> None:
            with one_at_a_time:
                print(json.dumps([kind, content]), file=channel, flush=True)

        def warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            name = _nearest(category, Warning)
            send("warning", {"type": name, "message": str(message)})

        def interrupt(*_: object) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would stop the cleaning up
            raise KeyboardInterrupt

        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)
        warnings.showwarning = warn
        module, _, name = sys.argv[1].partition(":")
        try:
            setup = json.loads(sys.stdin.readline())
            _PACKAGE.setLevel(setup["level"])
            _PACKAGE.addHandler(_Sender(send))
            _PACKAGE.propagate = False
            function = getattr(importlib.import_module(module), name)
            arguments = setup["arguments"]
            send("result", function(lambda content: send("progress", content), **arguments))
        except R2PError as error:
            send("error", {"type": _nearest(type(error), R2PError), "message": str(error)})
        except Exception as error:  # of a library, which raises any class
            message = " ".join(traceback.format_exception_only(error)[-1].split())
            send("failure", {"message": message, "traceback": traceback.format_exc()})
        except KeyboardInterrupt:
            sys.exit(130)  # the parent was interrupted too and says so


class _Sender(logging.Handler):
    """A handler that sends records to the parent, as warnings and errors are."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        fields = {"name": record.name, "level": record.levelno, "message": record.getMessage()}
        self._send("log", fields)


def _nearest(raised: type[BaseException], root: type[BaseException]) -> str:
    """Return the name of the nearest class, `root` at last, that the parent knows by name.

    A runtime raises subclasses of its own, which the parent may not be able to import.
    """
    known = [*vars(errors).values(), *vars(builtins).values()]
    return next(one.__name__ for one in raised.__mro__ if one in known or one is root)
