"""RKNN-Toolkit-Lite2, the Python package that runs `.rknn` files on a board's NPU.

Read in its wheel, 2.5.0 for aarch64: rknnlite/api/rknn_lite.py, and the messages of its compiled
rknn_runtime. A call that fails prints the reason and returns -1 or None, and so does one that
Ctrl-C interrupts: it catches whatever is raised.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, one_line
from r2p_edge.runtimes.quiet import stdout_to_stderr
from r2p_edge.runtimes.rknn.chips import CORE_MASKS
from r2p_edge.runtimes.rknn.system import system_faults

_INSTALL = "run on the board: pip install rknn-toolkit-lite2"
_REASON = "its reason is on stderr"


def lite_library() -> ModuleType:
    """Import `rknnlite.api` and return it.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it cannot be imported.
    """
    # The package first: a missing one would be reported as broken by its submodule's name.
    import_library("rknnlite", _INSTALL)
    return import_library("rknnlite.api", _INSTALL)


def lite_version() -> str:
    """Return the version of the package, which has no `__version__`."""
    try:
        return metadata.version("rknn-toolkit-lite2")
    except metadata.PackageNotFoundError:  # unpacked by hand
        return "of unknown version"


@contextlib.contextmanager
def _signals_heard_after() -> Iterator[None]:
    """Call the handlers of SIGINT and SIGTERM after the block, of which they may raise."""
    formers, heard = {}, []
    try:
        if threading.current_thread() is threading.main_thread():  # handlers run in no other
            for number in (signal.SIGINT, signal.SIGTERM):
                if callable(former := signal.getsignal(number)):
                    formers[number] = former
                    signal.signal(number, lambda *arguments: heard.append(arguments))
        yield
    finally:
        for number, former in formers.items():
            signal.signal(number, former)
    for number, frame in heard:
        formers[number](number, frame)


class BoardSession:
    """One `RKNNLite`.

    Args:
        path: the .rknn file.
        device: name in `CORE_MASKS`.
        release: of the toolkit that built the file; None if it is not known.

    Raises:
        ModelError: the library cannot read the file.
        BackendError: the NPU, its driver or librknnrt does not take it.
    """

    def __init__(self, path: Path, device: str, release: str | None = None) -> None:
        self._device = device
        with stdout_to_stderr(), _signals_heard_after():
            lite = self._lite = lite_library().RKNNLite()
            if lite.load_rknn(str(path)) != 0:
                raise ModelError(f"rknnlite cannot read {path}; {_REASON}")
            mask = CORE_MASKS[device]
            # A chip with one core refuses every mask, also that of its only core.
            reason, ended = _REASON, -1
            try:
                ended = lite.init_runtime(core_mask=mask) if mask else lite.init_runtime()
            except Exception as error:  # of its last steps, which it does not catch
                reason = one_line(error)
            if ended != 0:
                lite.release()
                faults = "; ".join(system_faults(release))
                raise BackendError(f"rknnlite cannot start {path} on {device}: {faults or reason}")

    def answer(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Return the output for the images of a clip, uint8 (T, H, W, C).

        Raises:
            BackendError: the NPU failed.
        """
        with _signals_heard_after():
            outputs = self._lite.inference(inputs=[images], data_format=["nhwc"])
        if outputs is None:
            raise BackendError(f"rknnlite failed on {self._device}; {_REASON}")
        return np.array(outputs[0], np.float32)

    def close(self) -> None:
        """Free the NPU's memory."""
        with stdout_to_stderr():
            self._lite.release()
