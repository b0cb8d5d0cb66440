"""Calls of our classes as TensorRT's C++ makes them: through their virtual functions.

test_contract.py runs it as a program, beside a real module. It fails if a call does not
come through, or comes back with something else than the class said.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from threading import Event

import pytest
import tensorrt as trt

from r2p_edge.runtimes.tensorrt.build import _monitor
from r2p_edge.runtimes.tensorrt.library import import_tensorrt, logger_of

WORD = ctypes.sizeof(ctypes.c_void_p)


def virtual(
    thing: object, slot: int, result: type | None, *arguments: type
) -> Callable[..., object]:
    """Return a virtual function of the C++ object behind a pybind11 object."""
    # pybind11 keeps its address right after Python's own header.
    address = ctypes.c_void_p.from_address(id(thing) + object.__basicsize__).value
    table = ctypes.c_void_p.from_address(address).value
    function = ctypes.c_void_p.from_address(table + slot * WORD).value
    typed = ctypes.CFUNCTYPE(result, ctypes.c_void_p, *arguments)(function)
    return lambda *given: typed(address, *given)


def check_logger() -> None:
    logger, kept = logger_of(import_tensorrt())
    # From 11 on it is versioned, as the monitor: four functions come first.
    slot = 0 if trt.__version__.startswith(("8.", "10.")) else 4
    log = virtual(logger, slot, None, ctypes.c_int, ctypes.c_char_p)
    for severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR, trt.Logger.WARNING):
        log(int(severity), f"said at {severity.name}".encode())
    assert kept.reason() == "said at INTERNAL_ERROR / said at ERROR", kept.reason()


def check_takers_of_the_logger() -> None:
    if hasattr(trt, "ComputeCapability"):  # TensorRT for RTX, which is here whole
        return
    for taker in (trt.Builder, trt.Runtime):
        # All that stub.c gives; a logger that is none would be refused before.
        with pytest.raises(TypeError, match="returned nullptr"):
            taker(logger_of(import_tensorrt()).logger)


def check_monitor() -> None:
    name, number = ctypes.c_char_p, ctypes.c_int
    cancelled = Event()
    shown: list[str] = []
    failed: list[BaseException] = []
    monitor = _monitor(shown.append, cancelled, failed, trt)
    start = virtual(monitor, 4, None, name, name, number)
    step = virtual(monitor, 5, ctypes.c_bool, name, number)
    finish = virtual(monitor, 6, None, name)
    start(b"Building", None, 2)
    start(b"Tactics", b"Building", 9)
    assert step(b"Tactics", 4) is True
    finish(b"Tactics")
    cancelled.set()
    assert step(b"Building", 0) is False
    assert len(shown) == 2, shown
    assert all(word in line for word, line in zip(("Tactics", "Building"), shown)), shown


if __name__ == "__main__":
    check_logger()
    check_takers_of_the_logger()
    if hasattr(trt, "IProgressMonitor"):
        check_monitor()
