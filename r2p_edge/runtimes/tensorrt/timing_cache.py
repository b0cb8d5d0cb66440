"""TensorRT's timing cache in a file: kernels that one build has timed, the next need not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from r2p_edge.artifact.files import atomic_write, locked

if TYPE_CHECKING:
    import tensorrt as trt


def use_cache(config: trt.IBuilderConfig, file: Path) -> None:
    """Gives the build what `file` holds."""
    cache = _read(config, file)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        warnings.warn(
            f"timing cache {file} is damaged or of another machine; kernels are timed again",
            RuntimeWarning,
            stacklevel=2,
        )
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def keep_cache(config: trt.IBuilderConfig, file: Path) -> None:
    """Adds to `file` what the build timed; other builds may have added to it meanwhile."""
    cache = config.get_timing_cache()
    try:
        with locked(file.parent):
            if (there := _read(config, file)) is not None:
                cache.combine(there, ignore_mismatch=False)
            atomic_write(file, bytes(cache.serialize()))
    except OSError as error:
        # The engine is built, and worth more than the time that the next one takes.
        warnings.warn(
            f"timing cache {file} cannot be written ({error}); the next build times all kernels "
            "again",
            RuntimeWarning,
            stacklevel=2,
        )


def _read(config: trt.IBuilderConfig, file: Path) -> trt.ITimingCache | None:
    """What the file holds, empty where there is none; None where it cannot be used."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError:  # a folder, or not ours to read
        return None
    return config.create_timing_cache(content)
