"""Offline models of Ascend NPUs, `.om`, through ais_bench.

Read in its source, github.com/Yanguan619/aclruntime with the history of gitee.com/ascend/tools:
ais-bench_workload/tool/ais_bench, ais_bench/infer/interface.py, interface_check.py and
common/path_security_check.py, backend/base/include/Base/Log/Log.h. It hands the address of an array
to the NPU and compares neither shape nor dtype.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, ModelError, one_line
from r2p_edge.runtimes.ascend import (
    OfflineRuntime,
    device_number,
)
from r2p_edge.runtimes.base import (
    Options,
    as_input,
    check_one_input,
    closed_model,
    position,
)
from r2p_edge.runtimes.quiet import stdout_to_stderr
from r2p_edge.spec import ModelSpec

# Every build calls itself 0.0.2, so that pip would keep an old one.
_SOURCE = "git+https://gitee.com/ascend/tools.git"
_INSTALL = (
    "with g++ and CANN's environment, build it from its source: pip install --force-reinstall "
    f"'{_SOURCE}#egg=aclruntime&subdirectory=ais-bench_workload/tool/ais_bench/backend' "
    f"'{_SOURCE}#egg=ais_bench&subdirectory=ais-bench_workload/tool/ais_bench' 'numpy<2'; or "
    "take the runtime acl, which CANN brings along"
)


class AisBench(OfflineRuntime):
    """One `InferSession`. Devices: "ascend", "ascend:1"."""

    name = "ais_bench"

    def __init__(self, session: Any, spec: ModelSpec, device: str, precision: str) -> None:
        (model_input,), outputs = session.get_inputs(), session.get_outputs()
        self._output = position("output", spec.output.name, [each.name for each in outputs])
        self._session: Any = session
        self._lock = threading.Lock()
        self.device = device
        self.precision = precision
        self.input_shape = tuple(model_input.shape)
        self.input_dtype = model_input.datatype.name
        self.output_shape = tuple(outputs[self._output].shape)

    @staticmethod
    def library() -> ModuleType:
        with _import_that_keeps_the_log():
            # The package first: a missing one would be reported as broken by its submodule's name.
            import_library("ais_bench", _INSTALL)
            return import_library("ais_bench.infer.interface", _INSTALL)

    @classmethod
    def open(cls, path: Path, spec: ModelSpec, options: Options) -> AisBench:
        library, device, precision = cls._settled(path, spec, options)
        check_file(path)
        try:
            with stdout_to_stderr():
                session = library.InferSession(device_number(device), str(path))
        # aclruntime raises C++ exceptions, which pybind11 translates into various classes.
        except Exception as error:
            raise ModelError(
                f"ais_bench cannot load {path} on {device} ({one_line(error)}); check that ATC "
                "compiled the file for this chip"
            ) from error
        if not hasattr(session, "set_context"):  # nor, in the oldest, free_resource
            raise BackendError(
                "this ais_bench can neither be used from several threads nor closed (its "
                "InferSession has no set_context, which came in May 2024, and its version is 0.0.2 "
                f"before and after); {_INSTALL}"
            )
        check_one_input(path, len(session.get_inputs()))
        return cls(session, spec, device, precision)

    def run(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        array = as_input(batch, self)
        with self._lock:
            if self._session is None:
                raise closed_model()
            try:
                # ACL's context belongs to the thread that opened the model.
                self._session.set_context()
                outputs = self._session.infer([array])
            except Exception as error:  # as above
                raise BackendError(
                    f"ais_bench failed on {self.device} ({one_line(error)})"
                ) from error
            return np.array(outputs[self._output])

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is not None:
                with stdout_to_stderr():
                    session.free_resource()


def check_file(path: Path) -> None:
    """Make sure that ais_bench will take a file, since it says the reason to its log alone.

    Raises:
        ModelError: it breaks one of the rules that ais_bench has had since autumn 2024.
    """
    absolute = path.absolute()
    about = path.stat()
    mode = stat.S_IMODE(about.st_mode)
    reason = None
    if letters := sorted(set(re.findall(r"[^_A-Za-z0-9/.-]", str(absolute)))):
        reason = (
            f"its path {absolute} has {' '.join(map(repr, letters))}, and may have A-Z, a-z, 0-9, "
            "_, -, . and / only; move it"
        )
    elif path.is_symlink():
        reason = f"it is a symbolic link; give the file itself, {path.resolve()}"
    elif about.st_uid != os.geteuid() and about.st_gid not in os.getgroups():
        reason = (
            f"it belongs to user {about.st_uid} and group {about.st_gid}, and to neither does user "
            f"{os.geteuid()}; sudo chown {os.geteuid()} {absolute}"
        )
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        reason = f"its group or others may write it (mode {mode:04o}); chmod 644 {absolute}"
    if reason is not None:
        raise ModelError(f"ais_bench refuses {path}: {reason}, or take the runtime acl")


@contextlib.contextmanager
def _import_that_keeps_the_log() -> Iterator[None]:
    """Undo what the library does to the log when it is imported.

    It calls `logging.basicConfig` with stdout and INFO, after which every library's INFO lines
    would stand between this program's answers.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
