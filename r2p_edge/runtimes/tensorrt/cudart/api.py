"""Devices, memory and streams of CUDA, as methods of one loaded libcudart."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from ctypes import byref, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.runtimes.tensorrt.cudart.binding import Binding, CudaError
from r2p_edge.runtimes.tensorrt.cudart.context import current_context, to_put_back
from r2p_edge.runtimes.tensorrt.cudart.resources import CudaStream, DeviceMemory, HostMemory

# cudaError
_OUT_OF_MEMORY = 2
_INSUFFICIENT_DRIVER = 35
_NO_DEVICE = 100

# cudaDeviceAttr
_MULTIPROCESSORS = 16
_INTEGRATED = 18
_MAJOR = 75
_MINOR = 76

_MAPPED = 2  # cudaHostAllocMapped
_NON_BLOCKING = 1  # cudaStreamNonBlocking


_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Chip:
    """Properties of a GPU.

    Attributes:
        compute_capability: e.g. "8.7" for Orin.
        multiprocessors: number of its streaming multiprocessors.
        integrated: whether it shares the memory of the CPU, as on Jetson.
    """

    compute_capability: str
    multiprocessors: int
    integrated: bool


class Cudart(Binding):
    """One libcudart, from `load`. Safe to call from several threads.

    Every method may raise CudaError.
    """

    def versions(self) -> tuple[str, str]:
        """Return the version of CUDA of this library, "12.6", and the newest of the driver.

        Without a driver the latter is "none"; a library of CUDA 11 then gives "none" for its own.
        """
        return self.version("cudaRuntimeGetVersion"), self.version("cudaDriverGetVersion")

    def fits_driver(self) -> bool:
        """Return whether the driver is new enough for this library, or absent."""
        runtime, driver = (version.partition(".")[0] for version in self.versions())
        return "none" in (runtime, driver) or int(runtime) <= int(driver)

    def device_count(self) -> int:
        """Return the number of GPUs; 0 without a driver too.

        Raises:
            CudaError: the driver is older than this library.
        """
        try:
            return self.number("cudaGetDeviceCount")
        except CudaError as error:
            runtime, driver = self.versions()
            # The library gives the same error for an absent driver as for an old one.
            if error.code == _NO_DEVICE or (error.code, driver) == (_INSUFFICIENT_DRIVER, "none"):
                return 0
            if error.code == _INSUFFICIENT_DRIVER:
                raise CudaError(
                    f"NVIDIA's driver supports CUDA {driver} and {self.path} is of CUDA {runtime}; "
                    f"update the driver, or use TensorRT and libcudart of CUDA {driver}",
                    error.code,
                ) from error
            raise

    def chip(self, device: int) -> Chip:
        """Return the properties of the GPU of this number."""
        with self._expects(device):
            major, minor, multiprocessors, integrated = (
                self.number("cudaDeviceGetAttribute", attribute, device)
                for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS, _INTEGRATED)
            )
        return Chip(f"{major}.{minor}", multiprocessors, bool(integrated))

    def free_memory(self) -> int:
        """Return the bytes of the current device that can be had.

        Where it shares the CPU's memory, CUDA counts what the system caches as used.
        """
        shared = self.number("cudaDeviceGetAttribute", _INTEGRATED, self.number("cudaGetDevice"))
        if shared and (available := _available_memory()) is not None:
            return available
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Make a GPU the calling thread's current device, and put the former one back.

        The context is put back too. It may be one of the thread's own making, as PyCUDA's are, and
        cudaSetDevice replaces it by the device's primary one (CUDA Runtime API, "Interactions with
        the CUDA Driver API"). A thread without a context is left without one, rather than with one
        on a GPU that nobody uses.
        """
        with self._expects(device):
            former, context = self.number("cudaGetDevice"), current_context()
            self.call("cudaSetDevice", device)
        try:
            yield
        finally:
            context = context or (None if former == device else to_put_back(former))
            if context is None:
                self.call("cudaSetDevice", former)
            else:
                context.make_current()

    def device_memory(self, nbytes: int) -> DeviceMemory:
        """Return new, uninitialised memory on the current device."""
        address = c_void_p()
        try:
            self.call("cudaMalloc", byref(address), nbytes)
        except CudaError as error:
            if error.code != _OUT_OF_MEMORY:
                raise
            raise CudaError(
                f"the GPU has no {nbytes:,} bytes left, as only {self.free_memory():,} are free; "
                "close other models and programs that use it, or use a smaller model",
                error.code,
            ) from error
        return DeviceMemory(self, address, nbytes)

    def host_memory(self, nbytes: int, *, mapped: bool = False) -> HostMemory:
        """Return new, uninitialised pinned memory of the CPU.

        Args:
            mapped: let the GPU reach it, at `device_address`, without a copy.
        """
        address = c_void_p()
        try:
            self.call("cudaHostAlloc", byref(address), nbytes, _MAPPED if mapped else 0)
        except CudaError as error:
            if error.code != _OUT_OF_MEMORY:
                raise
            raise CudaError(
                f"CUDA cannot pin {nbytes:,} bytes of the CPU's memory; close other programs, or "
                "use a smaller model",
                error.code,
            ) from error
        return HostMemory(self, address, nbytes)

    def stream(self) -> CudaStream:
        """Return a new stream on the current device, which does not wait for the default stream."""
        handle = c_void_p()
        self.call("cudaStreamCreateWithFlags", byref(handle), _NON_BLOCKING)
        return CudaStream(self, handle)

    @contextlib.contextmanager
    def _expects(self, device: int) -> Iterator[None]:
        """Turn a failure of the block into one about the device's number, if that is wrong."""
        try:
            yield
        except CudaError as error:
            count = self.device_count()
            if device in range(count):
                raise
            reason = (
                f"it finds {count}, numbered from 0; choose one of them"
                if count
                else "it finds no GPU; load NVIDIA's driver, and give a container access to the GPU"
            )
            raise CudaError(f"CUDA has no device {device}, as {reason}", error.code) from error


def _available_memory() -> int | None:
    """Return the bytes that the system can give to programs; None if it does not say."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB$", _MEMINFO.read_text(), re.MULTILINE)
    except OSError:  # not Linux, or a hardened container
        return None
    return int(found[1]) << 10 if found else None
