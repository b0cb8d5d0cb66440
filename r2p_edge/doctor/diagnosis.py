"""`r2p-edge doctor`: what works on this machine, found out by trying it.

A library that does not fit the machine may raise, print, hang or end the process when it is
imported or first run, so each is tried in a Python of its own; see `_probe` and `_child`.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from r2p_edge import _isolated
from r2p_edge._isolated import ProcessEndedError
from r2p_edge._version import __version__
from r2p_edge.doctor.probe import ABSENT, LAYERS, RUNNING, WAITING, Report, blank, runs
from r2p_edge.errors import one_line
from r2p_edge.preprocess import preprocessor
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.runtimes.base import usable_cores
from r2p_edge.runtimes.cpu import read_cpu

# Package: our extra that installs it, and what for.
_OPTIONAL = {"onnx": ("export", "to export"), "torch": ("torch", "for .pth files")}

_INT8 = {
    "fast": "fast and exact (VNNI or dot product)",
    "saturating": "8-bit sums saturate (no VNNI); give weights 7 bits",
    "slow": "exact, with little or no gain over fp32 (no dot product)",
    "unknown": "unknown; the CPU's features cannot be read here",
}


def diagnose(timeout: float = 120.0) -> Report:
    """What works on this machine; what does not is reported, never raised.

    Args:
        timeout: seconds that each runtime and each decoder may take.

    Returns:
        {"ready": whether a video can be read, preprocessed and run,
        "summary": sentences, the verdict first, then one for each thing that is not well,
        "runtimes": {name: {"status", "version", "reason", "install", "devices": [{"device",
        "conv3d", "conv2d"}]}},
        "decoders": {"pyav": {"status", "version", "reason", "install", "libraries": {name:
        version}, "decoders": {codec: bool}}, "opencv": {"status", "version", "reason", "install",
        "gstreamer": bool or None}},
        "kernel": {"compiled", "reason", "install"},
        "packages": {name: {"version", "install"}}, what exporting needs,
        "machine": {"os", "architecture", "cpu", "cores", "usable_cores", "memory" in bytes,
        "python", "r2p_edge", "features": {name: bool} or None, "int8"}}

        A status is "ok"; "missing"; "broken", it cannot be imported; "failing", it can and a
        check failed; or "unchecked", it takes no model that this package holds. `version`,
        `reason` and `install` (what to type where it is missing) are None where there is none. A
        layer is "ok", "ok in fp16" where there is no fp32, "none" where the device lacks it on
        every machine, or the reason why not. For `int8` see `_cpu.Cpu.int8`.
    """
    runtimes = {name: ask(name, timeout) for name in RUNTIMES}
    decoders = {name: ask(name, timeout) for name in ("pyav", "opencv")}
    report = {
        "runtimes": runtimes,
        "decoders": decoders,
        "kernel": _kernel(),
        "packages": {name: _package(name, extra) for name, (extra, _) in _OPTIONAL.items()},
        "machine": _machine(),
    }
    ready, summary = _summary(report)
    return {"ready": ready, "summary": summary, **report}


def ask(what: str, timeout: float) -> Report:
    """What a Python of its own finds out about a runtime, "pyav" or "opencv"; see `diagnose`."""
    found = blank(what)
    try:
        _isolated.call(
            "r2p_edge.doctor.probe:probe", {"what": what}, progress=found.update, timeout=timeout
        )
    except ProcessEndedError as error:
        found["reason"] = str(error)
        for device in found.get("devices", []):
            device |= {layer: str(error) for layer in LAYERS if device[layer] == RUNNING}
    return found


def _kernel() -> Report:
    """The C++ extension, and why it is not at work."""
    try:
        importlib.import_module("r2p_edge.preprocess._frames")
    except ImportError as error:
        reason = one_line(error)
        install = "reinstall r2p_edge where there is a C++ compiler"
        return {"compiled": preprocessor.compiled, "reason": reason, "install": install}
    return {"compiled": preprocessor.compiled, "reason": None, "install": None}


def _package(name: str, extra: str) -> Report:
    try:
        return {"version": metadata.version(name), "install": None}
    except metadata.PackageNotFoundError:
        return {"version": None, "install": f'pip install "r2p_edge[{extra}]"'}


def _machine() -> Report:
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
    """Whether a video can be answered here, and the sentences that say so."""
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
            "no frame can be preprocessed without the C++ extension or OpenCV "
            '(pip install "r2p_edge[opencv]")'
        )
    head = f"Not ready: {'; '.join(lacking)}" if lacking else f"Ready: {', '.join(running)}"
    return not lacking, [head, *_troubles(report)]


def _only(device: Report) -> str:
    good = [layer for layer in LAYERS if runs(device[layer])]
    return "" if len(good) == len(LAYERS) else f" ({', '.join(good)} only)"


def _troubles(report: Report) -> Iterator[str]:
    """A sentence for each thing that is there and not well."""
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
    """What PyPI's files of the runtimes, which are for 64 bits and on Linux for glibc, rule out."""
    if sys.maxsize < 2**32:
        yield "this Python has 32 bits; pip finds runtimes for one of 64 bits"
    if platform.system() == "Linux" and platform.libc_ver()[0] != "glibc":
        yield "this Linux does not use glibc; pip finds runtimes for one that does"


def print_diagnosis(report: Report) -> None:
    """The report of `diagnose` as tables on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Install lines have brackets, which rich would take for markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        # rich would assume 80 columns and cut the names.
        console = Console(markup=False, highlight=False, emoji=False, width=120)
    for sentence in report["summary"]:
        console.print(sentence, soft_wrap=not console.is_terminal)
    table = Table("runtime", "status", "version", "device", *LAYERS, box=box.SIMPLE, pad_edge=False)
    for name, found in report["runtimes"].items():
        # OpenVINO's goes on with its branch and commit.
        version = (found["version"] or "-").split("-")[0] or "-"
        for device in found["devices"] or [dict.fromkeys(("device", *LAYERS), "-")]:
            cells = [_cell(device[layer]) for layer in LAYERS]
            table.add_row(name, found["status"], version, device["device"], *cells)
    console.print(table)
    rest = Table("what", "found", box=box.SIMPLE, pad_edge=False, show_header=False)
    for row in _rows(report):
        rest.add_row(*row)
    console.print(rest)
    for name, found in report["runtimes"].items():
        if found["install"] and not _is_command(found["install"]):
            # In a cell an address would be cut.
            sentence = f"{name} is missing: {found['install']}"
            console.print(sentence, soft_wrap=not console.is_terminal)


def _cell(result: str) -> str:
    """A layer's result in a word; the summary holds the reasons."""
    return result if runs(result) or result in ("-", WAITING, ABSENT) else "failed"


def _is_command(install: str) -> bool:
    """Whether what to do where a runtime is missing is a line to type and not a text to read."""
    return install.startswith("pip install ")


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    machine, kernel = report["machine"], report["kernel"]
    pyav, opencv = report["decoders"]["pyav"], report["decoders"]["opencv"]
    for name, found in report["runtimes"].items():
        if found["install"] and _is_command(found["install"]):
            yield name, f"missing: {found['install']}"
    ffmpeg = "".join(
        f", {name} {pyav['libraries'][name]}"
        for name in ("libavcodec", "libavformat")
        if name in pyav["libraries"]
    )
    yield "PyAV", _state(pyav) + ffmpeg
    if pyav["decoders"]:
        codecs = [name if there else f"no {name}" for name, there in pyav["decoders"].items()]
        yield "decoders", ", ".join(codecs)
    gstreamer = {True: ", with GStreamer", False: ", without GStreamer"}.get(opencv["gstreamer"])
    yield "OpenCV", _state(opencv) + (gstreamer or "")
    if opencv["status"] != "ok":
        yield "", "for webcams and GStreamer pipelines"
    yield "preprocessing", "C++ extension" if kernel["compiled"] else f"slow; {kernel['install']}"
    for name, found in report["packages"].items():
        yield name, found["version"] or f"missing: {found['install']} {_OPTIONAL[name][1]}"
    yield "system", machine["os"]
    yield "Python", f"{machine['python']}, r2p_edge {machine['r2p_edge']}"
    yield "CPU", f"{machine['cpu'] or 'unknown'}, {machine['architecture']}"
    yield "cores", f"{machine['usable_cores']} usable of {machine['cores']}"
    if machine["memory"]:
        yield "memory", f"{machine['memory'] / 2**30:.1f} GiB"
    if machine["features"]:
        present = [name for name, there in machine["features"].items() if there]
        yield "features", ", ".join(present) or "none that INT8 or BF16 need"
    yield "INT8 on CPU", _INT8[machine["int8"]]


def _state(found: Report) -> str:
    if found["status"] == "ok":
        return found["version"] or "ok"
    return f"{found['status']}: {found['install']}" if found["install"] else str(found["status"])
