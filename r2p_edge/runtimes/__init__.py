"""Inference runtimes: one file or folder each, imported only when a model is opened on it.

A runtime sees arrays, never frames or labels. To add one, write a subclass of `base.Runtime` in a
file here and give it a row in `RUNTIMES`, from which `Predictor`, `doctor` and the command line
take it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import ModelError, UsageError, similar_name
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.spec import ModelSpec

_log = logging.getLogger(__name__)


class _Row(NamedTuple):
    """A runtime.

    Attributes:
        module, type: its module and class.
        suffixes: of the files that it runs, its own first.
        magic: first bytes of these files, where another runtime's have the same suffix.
    """

    module: str
    type: str
    suffixes: tuple[str, ...]
    magic: bytes = b""


RUNTIMES = {
    "onnxruntime": _Row("r2p_edge.runtimes.onnxruntime", "OnnxRuntime", (".onnx",)),
    "openvino": _Row("r2p_edge.runtimes.openvino", "OpenVino", (".xml", ".onnx")),
    "tensorrt": _Row(
        "r2p_edge.runtimes.tensorrt.runtime", "TensorRT", (".engine", ".plan"), b"ftrt"
    ),
    "tensorrt_rtx": _Row(
        "r2p_edge.runtimes.tensorrt.rtx", "TensorRTForRTX", (".engine", ".plan"), b"vtrt"
    ),
    "mindspore_lite": _Row("r2p_edge.runtimes.mindspore_lite", "MindSporeLite", (".mindir",)),
    # CANN brings it along, with no wheel to find and no rules for a file's owner and path.
    "acl": _Row("r2p_edge.runtimes.acl", "Acl", (".om",)),
    "ais_bench": _Row("r2p_edge.runtimes.ais_bench", "AisBench", (".om",)),
    "mindspore": _Row("r2p_edge.runtimes.mindspore", "MindSpore", (".mindir",)),
    "rknn": _Row("r2p_edge.runtimes.rknn.runtime", "Rknn", (".rknn",)),
}
"""Runtimes by name, which is the name of the Python package that they need (of
"rknn" that on a PC; it is rknnlite on a board).

By default a file runs on the runtime that its first bytes are of, or that its spec names under
`target`; if neither names one, on the first in this table that takes such files and is installed.
"""


def runtime_type(name: str) -> type[Runtime]:
    """Return the class of a runtime in `RUNTIMES`, without importing its library."""
    row = RUNTIMES[name]
    found: type[Runtime] = getattr(importlib.import_module(row.module), row.type)
    return found


def open_runtime(path: Path, spec: ModelSpec, runtime: str | None, options: Options) -> Runtime:
    """Load the model at `path`.

    Args:
        runtime: name in `RUNTIMES`; None for the file's default.

    Raises:
        UsageError: the runtime is unknown, or has no such option.
        ModelError: no runtime takes such a file, or the requested one does not.
        BackendError: the runtime, the device or the precision is unavailable.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise UsageError(
            f"unknown runtime {runtime!r}; {similar_name(runtime, RUNTIMES)}choose one of "
            f"{', '.join(RUNTIMES)}"
        )
    fitting = [name for name, row in RUNTIMES.items() if path.suffix.lower() in row.suffixes]
    if not fitting or (runtime is not None and runtime not in fitting):
        wanted = RUNTIMES if runtime is None else [runtime]
        takes = "; ".join(f"{name} runs {', '.join(RUNTIMES[name].suffixes)}" for name in wanted)
        raise ModelError(f"{path} is not a model file for {runtime or 'any runtime here'}: {takes}")
    chosen = runtime or _default(path, spec, fitting)
    opened = runtime_type(chosen).open(path, spec, options)
    version = getattr(sys.modules.get(opened.name), "__version__", "of unknown version")
    _log.info(
        "opened %s on %s %s: device %s, precision %s",
        *(path, opened.name, version, opened.device, opened.precision),
    )
    return opened


def _default(path: Path, spec: ModelSpec, fitting: list[str]) -> str:
    """Return the runtime for a file where the caller names none; see `RUNTIMES`."""
    # A file that was renamed or copied without its sidecar still says what it is.
    magic = {name: RUNTIMES[name].magic for name in fitting if RUNTIMES[name].magic}
    if magic:
        first = _first_bytes(path)
        for name, wanted in magic.items():
            if first.startswith(wanted):
                return name
    # Two libraries read .mindir, and neither reads the other's.
    made_for = (spec.target or {}).get("runtime")
    if made_for in fitting:
        return str(made_for)
    chosen = next((name for name in fitting if importlib.util.find_spec(name)), fitting[0])
    if chosen != fitting[0]:
        skipped = ", ".join(fitting[: fitting.index(chosen)])
        _log.info("%s is not installed, so %s runs %s", skipped, chosen, path)
    return chosen


def _first_bytes(path: Path) -> bytes:
    """Return the beginning of a file; nothing where it cannot be read, which opening it tells."""
    try:
        with path.open("rb") as file:
            return file.read(8)
    except OSError:
        return b""
