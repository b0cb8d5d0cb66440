"""A function of this package in a process of its own.

Inference libraries disturb each other in one process: they bring their own copies of the same
thread pools and kernels, and one that crashes takes everything with it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from r2p_edge import errors
from r2p_edge.errors import BackendError, R2PError

# The child finds the modules that its parent found, wherever it was started from.
_COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
_COMMAND += "from r2p_edge._child import serve; serve()"


def call(
    function: str, arguments: dict[str, Any], progress: Callable[[Any], None] | None = None
) -> Any:
    """Calls `function(report, **arguments)` in a new Python process and returns its result.

    Args:
        function: "module:name", of this package.
        arguments: plain JSON types, as the result must be.
        progress: is called here with whatever the function calls `report` with there.

    Raises:
        R2PError: what the function raised, of the same class.
        BackendError: the process died, as of a library that crashes.
    """
    command = [sys.executable, "-c", _COMMAND, json.dumps(sys.path), function]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(arguments).encode())
            process.stdin.close()
            for line in process.stdout:
                kind, content = json.loads(line)
                if kind == "result":
                    return content
                if kind == "error":
                    raise getattr(errors, content["type"])(content["message"])
                if progress is not None:
                    progress(content)
        except BaseException:
            process.kill()
            raise
    raise BackendError(
        f"the process of {arguments.get('model', function)} {_end(process.returncode)} before it "
        "answered; its last words are above"
    )


def _end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    return f"was killed by {signal.Signals(-code).name}"


def serve() -> None:
    """The child's side of `call`: arguments on stdin, messages on stdout, one a line."""
    # What a library prints to stdout would be taken for a message.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(kind: str, content: Any) -> None:
        print(json.dumps([kind, content]), file=channel, flush=True)

    module, _, name = sys.argv[2].partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        arguments = json.load(sys.stdin)
        send("result", function(lambda content: send("progress", content), **arguments))
    except R2PError as error:
        send("error", {"type": type(error).__name__, "message": str(error)})
    except KeyboardInterrupt:
        sys.exit(130)  # the parent was interrupted too and says so
