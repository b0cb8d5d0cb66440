"""Diagnosis of a machine: each runtime and decoder is tried, not just looked for.

A library that does not fit the machine may raise, print, hang or end the process when it is
imported or first run, so each is tried in a Python process of its own.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from r2p_edge import _isolated
from r2p_edge._isolated import ProcessFailedError
from r2p_edge._optional import OPENCV
from r2p_edge._version import __version__
from r2p_edge.doctor.layers import ABSENT, LAYERS, RUNNING, WAITING, runs
from r2p_edge.doctor.probe import Report, blank
from r2p_edge.errors import one_line
from r2p_edge.preprocess import preprocessor
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import usable_cores
from r2p_edge.runtimes.cpu import read_cpu

OPTIONAL = {"onnx": "to export", "torch": "for modules of PyTorch"}
"""Packages for exporting, and the use of each."""


def diagnose(timeout: float = 120.0) -> Report:
    """Return a report of this machine; failures are in the report, never raised.

    Args:
        timeout: seconds that each runtime and each decoder may take.

    Returns:
        {"ready": whether a video can be read, preprocessed and run,
        "summary": sentences, the verdict first, then one for each problem,
        "runtimes": {name: {"status", "version", "reason", "install", "devices": [{"device",
        "conv3d", "conv2d"}], "int8": None, or why it computes int8 wrongly on this CPU}},
        "decoders": {"pyav": {"status", "version", "reason", "install", "libraries": {name:
        version}, "decoders": {codec: bool}}, "opencv": {"status", "version", "reason", "install",
        "gstreamer": bool or None, "flow": [names of methods that it has]}},
        "kernel": {"compiled", "reason", "install"},
        "packages": {name: {"version", "install"}}, those needed for exporting,
        "machine": {"os", "architecture", "cpu", "cores", "usable_cores", "memory" in bytes,
        "python", "r2p_edge", "features": {name: bool} or None, "int8"}}

        A status is "ok", "missing", "broken" (it cannot be imported), "failing" (it can be
        imported but failed a check) or "unchecked" (it runs none of the test models). `version`,
        `reason` and `install` (how to install it if it is missing) may be None. A layer is "ok",
        "ok in fp16" (it failed in fp32), "none" (the device lacks it on every machine), or the
        reason of its failure. For `int8` see `r2p_edge.runtimes.cpu.Cpu.int8`.
    """
    runtimes = {name: ask(name, timeout) for name in RUNTIMES}
    decoders = {name: ask(name, timeout) for name in ("pyav", "opencv")}
    report = {
        "runtimes": runtimes,
        "decoders": decoders,
        "kernel": _kernel(),
        "packages": {name: _package(name) for name in OPTIONAL},
        "machine": machine_facts(),
    }
    ready, summary = _summary(report)
    return {"ready": ready, "summary": summary, **report}


def ask(what: str, timeout: float) -> Report:
    """Return the report on a runtime, "pyav" or "opencv", made in a process of its own.

    Args:
        timeout: seconds that it may take.
    """
    found = blank(what)
    try:
        _isolated.call(
            "r2p_edge.doctor.probe:probe", {"what": what}, progress=found.update, timeout=timeout
        )
    except ProcessFailedError as error:
        found["reason"] = str(error)
        for device in found.get("devices", []):
            device |= {layer: str(error) for layer in LAYERS if device[layer] == RUNNING}
    return found


def _kernel() -> Report:
    """Return whether the C++ extension is in use, and if not, why."""
    try:
        importlib.import_module("r2p_edge.preprocess._frames")
    except ImportError as error:
        reason = one_line(error)
        install = "reinstall r2p_edge where there is a C++ compiler"
        return {"compiled": preprocessor.compiled, "reason": reason, "install": install}
    return {"compiled": preprocessor.compiled, "reason": None, "install": None}


def _package(name: str) -> Report:
    try:
        return {"version": metadata.version(name), "install": None}
    except metadata.PackageNotFoundError:
        return {"version": None, "install": f"pip install {name}"}


def machine_facts() -> Report:
    """Return the "machine" of `diagnose`."""
    cpu = read_cpu()
    memory = None
    # Windows has no sysconf.
    if hasattr(os, "sysconf"):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "os": platform.platform(),
        "architecture": platform.machine(),
        "cpu": cpu.model,
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory": memory,
        "python": platform.python_version(),
        "r2p_edge": __version__,
        "features": cpu.features,
        "int8": cpu.int8,
    }


def _summary(report: Report) -> tuple[bool, list[str]]:
    """Return whether a video can be answered here, and the sentences of the summary."""
    runtimes, decoders, kernel = report["runtimes"], report["decoders"], report["kernel"]
    running = [
        f"{name} on {device['device']}{_only(device)}"
        for name, found in runtimes.items()
        for device in found["devices"]
        if any(runs(device[layer]) for layer in LAYERS)
    ]
    lacking = []
    if not running:
        installs = [found["install"] for found in runtimes.values() if found["install"]]
        lacking.append(
            "no runtime runs a model here" + "".join(f" ({one})" for one in installs[:1])
        )
    if decoders["pyav"]["status"] != "ok":
        lacking.append("no video can be read without PyAV")
    if not kernel["compiled"] and decoders["opencv"]["status"] != "ok":
        lacking.append(
            f"no frame can be preprocessed without the C++ extension or OpenCV ({OPENCV})"
        )
    head = f"Not ready: {'; '.join(lacking)}" if lacking else f"Ready: {', '.join(running)}"
    return not lacking, [head, *_troubles(report)]


def _only(device: Report) -> str:
    """Return a remark on a device that runs some layers only."""
    good = [layer for layer in LAYERS if runs(device[layer])]
    return "" if len(good) == len(LAYERS) else f" ({', '.join(good)} only)"


def _troubles(report: Report) -> Iterator[str]:
    """Yield a sentence for each thing that is installed and does not work."""
    runtimes, decoders, kernel = report["runtimes"], report["decoders"], report["kernel"]
    for name, found in {**runtimes, **decoders}.items():
        where = {
            f"{name} on {device['device']}, {layer}": device[layer]
            for device in found.get("devices", [])
            for layer in LAYERS
            if not runs(device[layer]) and device[layer] not in (WAITING, ABSENT)
        }
        yield from (f"{place}: {reason}" for place, reason in where.items())
        for device in found.get("devices", []):
            if device["conv3d"] == ABSENT:
                yield (
                    f"{name} on {device['device']} has no 3-D convolutions; export with "
                    "--graph conv2d"
                )
        if found.get("int8"):
            yield f"{name}, int8: {found['int8']}"
        if found["status"] in ("broken", "failing") and not where:
            yield f"{name}: {found['reason']}"
    lacks = [codec for codec, there in decoders["pyav"]["decoders"].items() if not there]
    if lacks:
        yield f"pyav: its FFmpeg cannot decode {', '.join(lacks)}"
    if not kernel["compiled"]:
        instead = "; OpenCV and NumPy preprocess instead, slower"
        there = decoders["opencv"]["status"] == "ok"
        yield f"C++ extension: {kernel['reason']}{instead if there else ''}"
    if any(found["status"] == "missing" for found in runtimes.values()):
        yield from _without_wheels()


def _without_wheels() -> Iterator[str]:
    """Yield a sentence for each property of this machine for which PyPI has no runtimes.

    Their wheels are for 64 bits and, on Linux, for glibc.
    """
    if sys.maxsize < 2**32:
        yield "this Python has 32 bits; pip finds runtimes for one of 64 bits"
    if platform.system() == "Linux" and platform.libc_ver()[0] != "glibc":
        yield "this Linux does not use glibc; pip finds runtimes for one that does"
