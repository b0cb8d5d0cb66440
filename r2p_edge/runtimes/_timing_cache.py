"""TensorRT's timing cache in a file: kernels that one build has timed, the next need not."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge._files import atomic_write

if TYPE_CHECKING:
    import tensorrt as trt


def use_cache(config: trt.IBuilderConfig, file: Path) -> trt.ITimingCache:
    """Gives the build what `file` holds; the result must be kept as long as the build lasts."""
    cache = _read(config, file)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        warnings.warn(
            f"timing cache {file} is damaged or of another machine; kernels are timed again",
            RuntimeWarning,
            stacklevel=2,
        )
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def keep_cache(config: trt.IBuilderConfig, file: Path) -> None:
    """Adds to `file` what the build timed; other builds may have added to it meanwhile.

    Raises:
        OutputError: it cannot be written.
    """
    cache = config.get_timing_cache()
    with _locked(file):
        if (there := _read(config, file)) is not None:
            cache.combine(there, ignore_mismatch=False)
        atomic_write(file, bytes(cache.serialize()))


def _read(config: trt.IBuilderConfig, file: Path) -> trt.ITimingCache | None:
    """What the file holds, empty where there is none; None where it cannot be used."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        content = b""
    return config.create_timing_cache(content)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Holds other processes off; a file of its own, because `file` is replaced."""
    try:
        import fcntl
    except ImportError:  # Windows, where the later of two builds at once wins
        yield
        return
    with file.with_name(f".{file.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
