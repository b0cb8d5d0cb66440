"""Loading in TensorRT for RTX: it judges an engine and compiles kernels for the GPU.

Its engines are finished on the GPU that runs them, which takes seconds. A runtime cache keeps the
kernels for the next start. TensorRT proper has neither.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge.artifact.atomic import atomic_write, locked
from r2p_edge.runtimes.tensorrt.library import RTX

if TYPE_CHECKING:
    import tensorrt_rtx as trt


def unfitness(runtime: trt.Runtime, plan: bytes) -> str | None:
    """Return why an engine does not fit the library and the current GPU; None if it does."""
    from tensorrt_rtx import EngineInvalidityDiagnostics as Reason
    from tensorrt_rtx import EngineValidity

    validity: EngineValidity
    found: int
    validity, found = runtime.get_engine_validity(plan[: runtime.engine_header_size])
    if validity != EngineValidity.INVALID:
        return None
    reasons = (
        Reason.VERSION_MISMATCH,
        Reason.UNSUPPORTED_CC,
        Reason.OLD_CUDA_DRIVER,
        Reason.OLD_CUDA_RUNTIME,
        Reason.INSUFFICIENT_GPU_MEMORY,
        Reason.MALFORMED_ENGINE,
        Reason.CUDA_ERROR,
    )
    names = [reason.name for reason in reasons if int(reason) & found]
    return ", ".join(names) or "the library gives no reason"


class RuntimeCache:
    """Kernels of one engine that were compiled for the GPU, in a file.

    Args:
        folder: folder of the caches.
        plan: content of the engine.
        gpu: words for the library's version and the GPU, which the file is named after.
    """

    def __init__(self, folder: Path, plan: bytes, gpu: str) -> None:
        digest = hashlib.sha256(plan).hexdigest()[:16]
        self._file = folder / f"{RTX}-{gpu}-{digest}.cache"
        self._kept = False

    def context(self, engine: trt.ICudaEngine) -> trt.IExecutionContext | None:
        """Return a context of an engine that uses the kernels in the file."""
        config = engine.create_runtime_config()
        self._cache = config.create_runtime_cache()
        before = self._read()
        if before and not self._cache.deserialize(before):
            warnings.warn(
                f"runtime cache {self._file} is damaged, or of another driver; kernels are "
                "compiled again",
                RuntimeWarning,
                stacklevel=2,
            )
        config.set_runtime_cache(self._cache)
        return engine.create_execution_context(config)

    def keep(self) -> None:
        """Write the kernels to the file, once: after the first run all of them are there."""
        if self._kept:
            return
        self._kept = True
        content = bytes(self._cache.serialize())
        if content == self._read():
            return
        try:
            with locked(self._file.parent):
                atomic_write(self._file, content)
        except OSError as error:
            # A warning: the model runs, and only the next start takes longer.
            warnings.warn(
                f"runtime cache {self._file} cannot be written ({error}); the next start compiles "
                "all kernels again",
                RuntimeWarning,
                stacklevel=2,
            )

    def _read(self) -> bytes:
        try:
            return self._file.read_bytes()
        except OSError:  # there is none yet, or it is not ours to read
            return b""
