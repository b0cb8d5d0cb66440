"""Diagnosis of a machine, printed as tables."""

from __future__ import annotations

from collections.abc import Iterator

from r2p_edge.doctor.diagnosis import OPTIONAL
from r2p_edge.doctor.layers import ABSENT, LAYERS, WAITING, runs
from r2p_edge.doctor.probe import Report

_INT8 = {
    "fast": "fast and exact (VNNI or dot product)",
    "saturating": "8-bit sums saturate (no VNNI); give weights 7 bits",
    "slow": "exact, with little or no gain over fp32 (no dot product)",
    "unknown": "unknown; the CPU's features cannot be read here",
}


def print_diagnosis(report: Report) -> None:
    """Print the report of `diagnose` as tables on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    # Rich would take the brackets of install lines for markup.
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        # Rich would assume 80 columns and cut the names.
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
            # A cell would cut the address.
            sentence = f"{name} is missing: {found['install']}"
            console.print(sentence, soft_wrap=not console.is_terminal)


def _cell(result: str) -> str:
    """Return a layer's result in a word; the reasons are in the summary."""
    return result if runs(result) or result in ("-", WAITING, ABSENT) else "failed"


def _is_command(install: str) -> bool:
    """Return whether an install advice is a command to type, rather than a text to read."""
    return install.startswith("pip install ")


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    """Yield name and finding of everything but the devices."""
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
        yield "", "for webcams, GStreamer pipelines and models of optical flow"
    elif "tvl1" not in opencv["flow"]:
        yield "", "without TV-L1 for flow; opencv-contrib-python-headless has it"
    yield "preprocessing", "C++ extension" if kernel["compiled"] else f"slow; {kernel['install']}"
    for name, found in report["packages"].items():
        yield name, found["version"] or f"missing: {found['install']} {OPTIONAL[name]}"
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
    """Return the version of a decoder, or its status with the install advice."""
    if found["status"] == "ok":
        return found["version"] or "ok"
    return f"{found['status']}: {found['install']}" if found["install"] else str(found["status"])
