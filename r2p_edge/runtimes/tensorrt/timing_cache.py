"""TensorRT's timing cache in a file, so that a build does not time kernels again."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge.artifact.atomic import atomic_write, locked

if TYPE_CHECKING:
    import tensorrt as trt


def use_cache(config: trt.IBuilderConfig, file: Path) -> None:
    """Give a build the timings in `file`."""
    cache = _read(config, file)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        warnings.warn(
            f"timing cache {file} is damaged or of another machine; kernels are timed again",
            RuntimeWarning,
            stacklevel=2,
        )
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def keep_cache(config: trt.IBuilderConfig, file: Path) -> None:
    """Add the build's timings to `file`, to which other builds may have added meanwhile."""
    cache = config.get_timing_cache()
    try:
        with locked(file.parent):
            if (there := _read(config, file)) is not None:
                cache.combine(there, ignore_mismatch=False)
            atomic_write(file, bytes(cache.serialize()))
    except OSError as error:
        # A warning: the engine is built, and only the next one takes longer.
        warnings.warn(
            f"timing cache {file} cannot be written ({error}); the next build times all kernels "
            "again",
            RuntimeWarning,
            stacklevel=2,
        )


def _read(config: trt.IBuilderConfig, file: Path) -> trt.ITimingCache | None:
    """Return the cache in the file, empty if there is none; None if it cannot be used."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError:  # a folder, or not ours to read
        return None
    return config.create_timing_cache(content)
