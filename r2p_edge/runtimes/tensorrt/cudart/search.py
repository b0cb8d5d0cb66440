"""Search for CUDA's runtime library, of which a machine may have several versions."""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from r2p_edge.errors import MissingDependencyError
from r2p_edge.runtimes.tensorrt.cudart.api import Cudart
from r2p_edge.runtimes.tensorrt.cudart.binding import LIBRARY

_SONAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
_MAPS = Path("/proc/self/maps")
_TOOLKITS = Path("/usr/local")

_opened = functools.cache(Cudart)


def load() -> Cudart:
    """Return the library of `$R2P_CUDART`, or the first found that the driver is new enough for.

    The order of the search: what this process has mapped already, NVIDIA's wheels, the system's
    libraries, CUDA toolkits in /usr/local.

    Raises:
        MissingDependencyError: there is none, or it cannot be used.
    """
    named = os.environ.get(LIBRARY)
    if named:
        try:
            return _opened(named)
        except OSError as error:
            raise MissingDependencyError(
                f"{LIBRARY} names {named}, which cannot be loaded ({error}); let it name CUDA's "
                "runtime library, libcudart.so, or unset it"
            ) from error
    too_new = None
    for path in _candidates():
        with contextlib.suppress(OSError, MissingDependencyError):
            library = _opened(path)
            if library.fits_driver():
                return library
            too_new = too_new or library
    if too_new is not None:  # its use fails with the driver's version and advice
        return too_new
    raise MissingDependencyError(
        "CUDA's runtime library, libcudart.so, was not found; install the CUDA toolkit, or pip's "
        f"tensorrt or nvidia-cuda-runtime-cu12, or let {LIBRARY} name the library's file"
    )


def _candidates() -> Iterator[str]:
    """Yield files and names for `ctypes.CDLL`; most of them do not exist on a given machine."""
    yield from _mapped()
    packages = importlib.util.find_spec("nvidia")
    for folder in (packages and packages.submodule_search_locations) or ():
        for wheel in ("cu13", "cuda_runtime"):
            yield from _libraries(Path(folder, wheel, "lib"))
    yield from _SONAMES
    for toolkit in sorted(_TOOLKITS.glob("cuda*")):
        yield from _libraries(toolkit / "lib64")
        yield from _libraries(toolkit / "targets" / "aarch64-linux" / "lib")
    found = ctypes.util.find_library("cudart")
    if found:
        yield found


def _mapped() -> Iterator[str]:
    """Yield the libraries that this process has mapped, as far as the system reveals them."""
    try:
        maps = _MAPS.read_bytes()
    except OSError:  # not Linux, or a hardened container
        return
    for line in os.fsdecode(maps).splitlines():
        path = "/" + line.partition("/")[2]
        if Path(path).name.startswith("libcudart"):
            yield path


def _libraries(folder: Path) -> Iterator[str]:
    """Yield the libcudart files in a folder, which need not exist."""
    return (str(path) for path in sorted(folder.glob("libcudart.so*")))
