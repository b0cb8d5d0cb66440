"""Telemetry of other people's libraries, which is off in all that this package imports."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

ONNXRUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
OPENVINO_REPORTER = "openvino_telemetry"

_changing = threading.RLock()  # a library may import another, in the same thread


@contextlib.contextmanager
def no_telemetry() -> Iterator[None]:
    """Let no library report its use to anybody that is imported first in the `with` block.

    ONNX Runtime's wheels of 1.31 and newer write a number for the machine to the user's cache and
    report every session to Microsoft, unless a variable of the environment is set when they are
    imported. Processes that are started inherit it. A value that the user has set, 0 too, stays.

    OpenVINO writes a number for the user to the home folder and reports each import to Google
    Analytics, unless it cannot import its reporter. That is hidden from it, and from nobody after
    the block.
    """
    os.environ.setdefault(ONNXRUNTIME_SWITCH, "1")
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    with _changing:
        there = OPENVINO_REPORTER in modules
        former = modules.get(OPENVINO_REPORTER)
        modules[OPENVINO_REPORTER] = None  # an import of it now raises ModuleNotFoundError
        try:
            yield
        finally:
            if there:
                modules[OPENVINO_REPORTER] = former
            else:
                del modules[OPENVINO_REPORTER]
