"""One file per inference runtime, imported only when a model is opened on it.

A runtime sees arrays, never frames or labels. A new one is a file here and a row in `RUNTIMES`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.spec.model_spec import ModelSpec


class _Entry(NamedTuple):
    module: str
    type: str
    suffixes: tuple[str, ...]


RUNTIMES = {
    "onnxruntime": _Entry("r2p_edge.runtimes.onnxruntime", "OnnxRuntime", (".onnx",)),
    "openvino": _Entry("r2p_edge.runtimes.openvino", "OpenVino", (".xml", ".onnx")),
    "tensorrt": _Entry("r2p_edge.runtimes.tensorrt.runtime", "TensorRT", (".engine", ".plan")),
    "mindspore_lite": _Entry(
        "r2p_edge.runtimes.mindspore_lite", "MindSporeLite", (".mindir", ".om")
    ),
    "mindspore": _Entry("r2p_edge.runtimes.mindspore", "MindSpore", (".mindir",)),
}
"""Name, which is its library's, -> where it lives and which files it runs, its own first.

For a file the default is the runtime that it was made for; where its spec does not say, the first
one that takes such files and is installed.
"""


def runtime_type(name: str) -> type[Runtime]:
    """The runtime of a name in `RUNTIMES`; its library is not imported yet."""
    entry = RUNTIMES[name]
    found: type[Runtime] = getattr(importlib.import_module(entry.module), entry.type)
    return found


def open_runtime(path: Path, spec: ModelSpec, runtime: str | None, options: Options) -> Runtime:
    """The model at `path`, ready to run.

    Raises:
        UsageError: there is no such runtime, or it has no such option.
        ModelError: no runtime takes such a file, or the one that was asked for does not.
        BackendError: the runtime, the device or the precision is not to be had.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise UsageError(f"there is no runtime {runtime!r}; there is {', '.join(RUNTIMES)}")
    fitting = [name for name, entry in RUNTIMES.items() if path.suffix.lower() in entry.suffixes]
    if not fitting or (runtime is not None and runtime not in fitting):
        wanted = RUNTIMES if runtime is None else [runtime]
        takes = "; ".join(f"{name} runs {', '.join(RUNTIMES[name].suffixes)}" for name in wanted)
        raise ModelError(f"{path} is no model file for {runtime or 'any runtime here'}: {takes}")
    if runtime is None:
        # Two libraries read .mindir, and neither the other's.
        made_for = (spec.target or {}).get("runtime")
        installed = (name for name in fitting if importlib.util.find_spec(name))
        runtime = str(made_for) if made_for in fitting else next(installed, fitting[0])
    return runtime_type(runtime).open(path, spec, options)
