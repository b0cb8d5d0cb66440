"""A function of this package in a Python of its own.

Inference libraries disturb each other in one process, which they share with their own copies of the
same thread pools; and one that does not fit the machine may print, hang or end the process.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from typing import IO, Any

from r2p_edge import errors
from r2p_edge.errors import BackendError, R2PError

# With the import path of this process, and without the current folder, which -c puts in front.
_COMMAND = (
    "import sys; sys.path[:] = sys.argv[2:]; from r2p_edge import _isolated; _isolated.serve()"
)


class ProcessEndedError(BackendError):
    """The process ended, or was ended, before the function had returned."""


def call(
    function: str,
    arguments: dict[str, Any],
    *,
    progress: Callable[[Any], None] | None = None,
    timeout: float | None = None,
) -> Any:
    """Calls `function(report, **arguments)` in a new Python process and returns its result.

    Warnings that it gives are given here. What libraries print there is not shown.

    Args:
        function: "module:name", of this package.
        arguments: plain JSON types, as the result must be.
        progress: is called here with whatever the function calls `report` with there.
        timeout: seconds after which the process is killed; None waits for ever.

    Raises:
        R2PError: what the function raised, of the same class.
        ProcessEndedError: the process ended before, as one does whose library crashes.
    """
    command = [sys.executable, "-c", _COMMAND, function, *sys.path]
    with tempfile.TemporaryFile() as stderr:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        except OSError as error:
            raise ProcessEndedError(
                f"a Python to try it in could not be started ({error.strerror})"
            ) from error
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout or 0, stop)
        with process:
            try:
                if timeout is not None:
                    timer.start()
                return _talk(process, arguments, progress)
            except EOFError:
                process.wait()
                if late.is_set():
                    raise ProcessEndedError(f"it did not finish within {timeout:g} s") from None
                raise ProcessEndedError(_end(process.returncode, stderr)) from None
            finally:
                timer.cancel()
                process.kill()


def _talk(
    process: subprocess.Popen[bytes],
    arguments: dict[str, Any],
    progress: Callable[[Any], None] | None,
) -> Any:
    """Sends the arguments and listens for the result; raises EOFError where none comes."""
    assert process.stdin is not None
    assert process.stdout is not None
    # A process that ends without reading them has its end told below.
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(arguments).encode())
    for line in process.stdout:
        kind, content = json.loads(line)
        if kind == "result":
            return content
        if kind == "error":
            raise getattr(errors, content["type"])(content["message"])
        if kind == "warning":
            category = getattr(errors, content["type"], UserWarning)
            warnings.warn(content["message"], category, stacklevel=4)
        elif progress is not None:
            progress(content)
    raise EOFError


def _end(code: int, stderr: IO[bytes]) -> str:
    """How a process ended, and its last words."""
    how = f"exit code {code}" if code >= 0 else f"signal {-code}, {signal.strsignal(-code)}"
    stderr.seek(0)
    words = stderr.read().decode(errors="replace").split("\n")
    last = next((" ".join(line.split()) for line in reversed(words) if line.strip()), "")
    return f"it ended Python ({how})" + (f", which said last: {last[:200]}" if last else "")


def serve() -> None:
    """The child's side of `call`: arguments on stdin, messages on stdout, one a line."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)  # what libraries print must not get between our lines

        def send(kind: str, content: Any) -> None:
            print(json.dumps([kind, content]), file=channel, flush=True)

        def warn(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
            send("warning", {"type": category.__name__, "message": str(message)})

        warnings.showwarning = warn
        module, _, name = sys.argv[1].partition(":")
        try:
            arguments = json.load(sys.stdin)
            function = getattr(importlib.import_module(module), name)
            send("result", function(lambda content: send("progress", content), **arguments))
        except R2PError as error:
            send("error", {"type": type(error).__name__, "message": str(error)})
        except KeyboardInterrupt:
            sys.exit(130)  # the parent was interrupted too and says so
