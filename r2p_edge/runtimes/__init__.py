"""One file per inference runtime, imported only when a model is opened on it.

A runtime sees arrays, never frames or labels. A new one is a file here and a row in `RUNTIMES`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.runtimes.base import Runtime
from r2p_edge.spec import ModelSpec


class _Entry(NamedTuple):
    module: str
    type: str
    suffixes: tuple[str, ...]


RUNTIMES = {
    "onnxruntime": _Entry("r2p_edge.runtimes.onnxruntime", "OnnxRuntime", (".onnx",)),
}
"""Name -> where it lives and which files it runs; for a suffix the first one is the default."""


def open_runtime(
    path: Path, spec: ModelSpec, *, runtime: str | None, device: str | None, threads: int | None
) -> Runtime:
    """The model at `path`, ready to run.

    Raises:
        UsageError: there is no such runtime, or `threads` is not positive.
        ModelError: no runtime takes such a file, or the one that was asked for does not.
        BackendError: the runtime or the device is not to be had.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise UsageError(f"there is no runtime {runtime!r}; there is {', '.join(RUNTIMES)}")
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}; it must be 1 or more")
    fitting = [name for name, entry in RUNTIMES.items() if path.suffix.lower() in entry.suffixes]
    if not fitting or (runtime is not None and runtime not in fitting):
        wanted = RUNTIMES if runtime is None else [runtime]
        takes = "; ".join(f"{name} runs {', '.join(RUNTIMES[name].suffixes)}" for name in wanted)
        raise ModelError(f"{path} is no model file for {runtime or 'any runtime here'}: {takes}")
    entry = RUNTIMES[runtime or fitting[0]]
    implementation = getattr(importlib.import_module(entry.module), entry.type)
    opened: Runtime = implementation.open(path, spec, device=device, threads=threads)
    return opened
