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
from collections.abc import Callable
from threading import Timer
from typing import IO, Any

from r2p_edge import errors
from r2p_edge.addresses import without_password
from r2p_edge.errors import BackendError, R2PError

# With the import path of this process, and without the current folder, which -c puts in front.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv[2:]; from r2p_edge import _isolated; _isolated.serve()"
)
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
    command = [sys.executable, "-c", _COMMAND, function, *sys.path]
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        except OSError as error:
            raise ProcessFailedError(
                f"a Python process of its own could not be started ({error.strerror})"
            ) from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = Timer(timeout or 0, stop)
        with process:
            try:
                if timeout is not None:
                    timer.start()
                return _talk(process, arguments, progress)
            except EOFError:
                process.wait()
                if late.is_set():
                    raise ProcessFailedError(f"it did not finish within {timeout:g} s") from None
                raise ProcessFailedError(_end(process.returncode, stderr)) from None
            finally:
                timer.cancel()
                process.kill()


def _talk(
    process: subprocess.Popen[bytes],
    arguments: dict[str, Any],
    progress: Callable[[Any], None] | None,
) -> Any:
    """Send the arguments and return the result.

    Raises:
        R2PError: see `call`.
        EOFError: the process ended without a result.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    # The end of a process that does not read them is noticed below.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        setup = {"arguments": arguments, "level": _PACKAGE.getEffectiveLevel()}
        process.stdin.write(json.dumps(setup).encode())
    for line in process.stdout:
        kind, content = json.loads(line)
        if kind == "result":
            return content
        if kind == "error":
            raise getattr(errors, content["type"])(content["message"])
        if kind == "failure":
            said = without_password(content["traceback"])
            _log.debug("a process of its own failed:\n%s", said)
            raise ProcessFailedError(f"it failed ({content['message']})")
        if kind == "warning":
            category = getattr(errors, content["type"], None) or getattr(builtins, content["type"])
            warnings.warn(content["message"], category, stacklevel=4)
        elif kind == "log":
            _relay(**content)
        elif progress is not None:
            progress(content)
    raise EOFError


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
    stderr.seek(0)
    words = stderr.read().decode(errors="replace").split("\n")
    last = next((" ".join(line.split()) for line in reversed(words) if line.strip()), "")
    return f"it ended Python ({how})" + (f", which said last: {last[:200]}" if last else "")


def serve() -> None:
    """Answer one `call` from the child's side: messages on stdout, one JSON text a line."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # what libraries print must not get between our lines

        one_at_a_time = threading.Lock()  # records and warnings come from several threads

        def send(kind: str, content: Any) -> None:
            with one_at_a_time:
                print(json.dumps([kind, content]), file=channel, flush=True)

        def warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            name = _nearest(category, Warning)
            send("warning", {"type": name, "message": str(message)})

        warnings.showwarning = warn
        module, _, name = sys.argv[1].partition(":")
        try:
            setup = json.load(sys.stdin)
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
