"""The Python modules of TensorRT and of TensorRT for RTX: their import, log and types."""

from __future__ import annotations

import functools
import re
from collections import deque
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

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

RTX = "tensorrt_rtx"
"""Name of the module of TensorRT for RTX, which has TensorRT's names, from 11 on, and some more."""


class Library(Protocol):
    """Either module, with those names that are used here and that every version has."""

    __name__: str
    __version__: str
    Builder: type[trt.Builder]
    BuilderFlag: type[trt.BuilderFlag]
    Dims: type[trt.Dims]
    IExecutionContext: type[trt.IExecutionContext]
    MemoryPoolType: type[trt.MemoryPoolType]
    NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
    OnnxParser: type[trt.OnnxParser]
    Runtime: type[trt.Runtime]
    TensorFormat: type[trt.TensorFormat]
    TensorIOMode: type[trt.TensorIOMode]
    TensorLocation: type[trt.TensorLocation]


def as_library(module: ModuleType) -> Library:
    """Return a module with the types of its names."""
    return cast(Library, module)


def import_tensorrt() -> ModuleType:
    """Import TensorRT and return it.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it cannot be imported, or is older than 8.6.
    """
    module = import_library("tensorrt", _install())
    library = as_library(module)
    if not hasattr(library.IExecutionContext, "execute_async_v3"):
        raise BackendError(
            f"tensorrt {library.__version__} lacks named tensors; install 8.6 or newer, which "
            "JetPack 6 has"
        )
    return module


def import_rtx() -> ModuleType:
    """Import TensorRT for RTX and return it.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it cannot be imported.
    """
    return import_library(RTX, "pip install tensorrt-rtx-cu12 nvidia-cuda-runtime-cu12")


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
    """Return the process's one logger for a module of TensorRT's.

    TensorRT logs only to the first logger of the process for as long as anything uses that one, so
    its reasons may go to another library's.
    """
    if TYPE_CHECKING:  # a base class has to be one that type checkers know
        from tensorrt import ILogger
    else:
        ILogger = library.ILogger  # noqa: N806

    log = Log()

    class ErrorLogger(ILogger):
        """A logger that keeps errors, and counts kernels that are left out."""

        def __init__(self) -> None:
            ILogger.__init__(self)  # required by pybind11

        def log(self, severity: ILogger.Severity, msg: str) -> None:
            """Keep an error; of other severities only skipped kernels count."""
            # Called from threads of TensorRT, where an exception would be printed and lost.
            if severity in (ILogger.Severity.INTERNAL_ERROR, ILogger.Severity.ERROR):
                log.add(msg)
            else:
                log.add_warning(msg)

    return Logger(ErrorLogger(), log)


def dims(found: trt.Dims) -> tuple[int, ...]:
    """Return a shape; -1 for an open axis."""
    return tuple(found[axis] for axis in range(len(found)))


def rebuild_command(path: Path, *, name: str = "tensorrt", precision: str | None = None) -> str:
    """Return the command line that builds an engine like the one at `path` for this machine.

    Args:
        name: of the library's module.
        precision: of the engine; None for that of the model.
    """
    option = f" --precision {precision}" if precision else ""
    target = name.replace("_", "-")
    return f"r2p-edge export MODEL.onnx --to {target}{option} --out {path.parent}"
