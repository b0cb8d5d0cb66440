"""TensorRT's Python module: its import, its log and its types."""

from __future__ import annotations

import functools
import re
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError

if TYPE_CHECKING:
    import tensorrt as trt

_JETSON = Path("/etc/nv_tegra_release")
# Releases write the one or the other line for a kernel, or both; older ones wrote "insuficient".
_SKIPPED = (
    re.compile(r"skipping tactic \S+ due to insuff?icient memory", re.IGNORECASE),
    re.compile(r"Device memory is insufficient to use tactic"),
)


def import_tensorrt() -> ModuleType:
    """Import TensorRT and return it.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it cannot be imported, or is older than 8.6.
    """
    library = import_library("tensorrt", _install())
    import tensorrt as trt  # for its types: `library` is a module like any other

    if not hasattr(trt.IExecutionContext, "execute_async_v3"):
        raise BackendError(
            f"tensorrt {trt.__version__} lacks named tensors; install 8.6 or newer, which "
            "JetPack 6 has"
        )
    return library


def _install() -> str:
    if _JETSON.exists():
        return (
            "it comes with JetPack (sudo apt install nvidia-jetpack) for the system's Python, so "
            "make the environment with python3 -m venv --system-site-packages"
        )
    return "pip install tensorrt, or tensorrt-cu12 where the driver is older than r580"


def count_skipped(text: str) -> int:
    """Return how many kernels TensorRT's builder says that it left out for want of memory."""
    return max(len(each.findall(text)) for each in _SKIPPED)


class Log:
    """Errors that TensorRT logged; its functions answer None and give the reason only here."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=20)
        self._short: list[str] = []

    def add(self, message: str) -> None:
        """Keep a message, on one line."""
        self._lines.append(" ".join(message.split()))

    def add_warning(self, message: str) -> None:
        """Keep a message of a lower severity if it is about a kernel that is left out."""
        if count_skipped(message):
            self._short.append(message)

    def skipped(self) -> int:
        """Return how many kernels a build left out for want of memory."""
        return count_skipped("\n".join(self._short))

    def clear(self) -> None:
        """Forget the messages so far."""
        self._lines.clear()
        self._short.clear()

    def reason(self) -> str:
        """Return the last errors; TensorRT logs the cause first and then its consequences."""
        lines = list(dict.fromkeys(self._lines))[-3:]
        return " / ".join(line[:300] for line in lines) or "it gave no reason"


class Logger(NamedTuple):
    """The logger to give to TensorRT, and what it logged."""

    logger: trt.ILogger
    log: Log


@functools.cache
def logger_of(library: ModuleType) -> Logger:
    """Return the process's one logger for a `tensorrt` module.

    TensorRT logs only to the first logger of the process for as long as anything uses that one, so
    its reasons may go to another library's.
    """
    import tensorrt as trt

    log = Log()

    class ErrorLogger(trt.ILogger):
        """A logger that keeps errors, and counts kernels that are left out."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # required by pybind11

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            """Keep an error; of other severities only skipped kernels count."""
            # Called from threads of TensorRT, where an exception would be printed and lost.
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                log.add(msg)
            else:
                log.add_warning(msg)

    return Logger(ErrorLogger(), log)


def dims(found: trt.Dims) -> tuple[int, ...]:
    """Return a shape; -1 for an open axis."""
    return tuple(found[axis] for axis in range(len(found)))


def rebuild_command(path: Path, precision: str | None = None) -> str:
    """Return the command line that builds an engine like the one at `path` on this machine."""
    option = f" --precision {precision}" if precision else ""
    return f"r2p-edge export MODEL.onnx --to tensorrt{option} --out {path.parent}"
