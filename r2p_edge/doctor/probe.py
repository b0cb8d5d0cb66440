"""Checks of one runtime or decoder, which `doctor` makes in a Python process of its own.

Before each step everything known so far is reported, so that a step that hangs or ends the process
can be named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.doctor.layers import ABSENT, LAYERS, RUNNING, WAITING, model_of, runs, try_layer
from r2p_edge.errors import BackendError, MissingDependencyError, one_line
from r2p_edge.preprocess.flow import has_method
from r2p_edge.runtimes import RUNTIMES, runtime_type
from r2p_edge.spec import FLOW_PARAMETERS

Report = dict[str, Any]
"""Findings as plain JSON types; the keys are listed at `diagnosis.diagnose`."""

_DECODERS = {
    "h264": ["h264"],
    "hevc": ["hevc"],
    "mpeg4": ["mpeg4"],
    "av1": ["libdav1d", "libaom-av1"],  # FFmpeg's own decoder av1 needs a GPU
    "vp9": ["vp9"],
    "mjpeg": ["mjpeg"],
}


def blank(what: str) -> Report:
    """Return the report on a runtime, "pyav" or "opencv" before it is tried."""
    more: dict[str, Report] = {
        "pyav": {"libraries": {}, "decoders": {}},
        "opencv": {"gstreamer": None, "flow": []},
    }
    return {
        "status": "broken",
        "version": None,
        "reason": None,
        "install": None,
        **more.get(what, {"devices": [], "int8": None}),
    }


def probe(report: Callable[[Report], None], what: str) -> None:
    """Try a runtime, "pyav" or "opencv", and report everything known before each step."""
    found = blank(what)
    for _ in steps(what, found):
        report(found)
    report(found)


def steps(what: str, found: Report) -> Iterator[None]:
    """Try a runtime, "pyav" or "opencv" in this process; `found` grows from yield to yield."""
    if what == "pyav":
        return _check_pyav(found)
    return _check_opencv(found) if what == "opencv" else _check_runtime(what, found)


def _check_pyav(found: Report) -> Iterator[None]:
    yield
    av = _load(found, lambda: import_library("av", "pip install av"))
    if av is None:
        return
    found["libraries"] = {
        name: ".".join(map(str, version)) for name, version in av.library_versions.items()
    }
    found["decoders"] = {
        codec: any(_has_decoder(av, name) for name in names) for codec, names in _DECODERS.items()
    }
    found["status"] = "ok"


def _has_decoder(av: ModuleType, name: str) -> bool:
    try:
        av.codec.Codec(name, "r")
    except ValueError:  # FFmpeg has none of that name
        return False
    return True


def _check_opencv(found: Report) -> Iterator[None]:
    yield
    cv2 = _load(found, lambda: import_library("cv2", OPENCV))
    if cv2 is not None:
        match = re.search(r"GStreamer:\s+(YES|NO)", cv2.getBuildInformation())
        found["gstreamer"] = match and match[1] == "YES"
        found["flow"] = [method for method in FLOW_PARAMETERS if has_method(cv2, method)]
        found["status"] = "ok"


def _load(found: Report, load: Callable[[], ModuleType]) -> ModuleType | None:
    """Return the library that `load` imports; None, and the reason in `found`, if it fails."""
    try:
        library = load()
    except MissingDependencyError as error:
        reason, _, install = str(error).partition("; ")
        found |= {"status": "missing", "reason": reason, "install": install}
        return None
    except BackendError as error:
        found["reason"] = str(error)
        return None
    found |= {"status": "failing", "version": getattr(library, "__version__", None)}
    return library


def _check_runtime(name: str, found: Report) -> Iterator[None]:
    yield
    runtime = runtime_type(name)
    if _load(found, runtime.library) is None:
        return
    found["int8"] = runtime.int8_fault()
    yield
    try:
        devices = runtime.devices()
    except Exception as error:  # with an unfit driver a library raises any class
        found["reason"] = one_line(error)
        return
    if not devices:
        found["reason"] = f"{name} finds no device"
        return
    found["devices"] = [{"device": each, **dict.fromkeys(LAYERS, WAITING)} for each in devices]
    suffixes = RUNTIMES[name].suffixes + runtime.builds_from
    models = {layer: model_of(layer, suffixes) for layer in LAYERS}
    if None in models.values():
        found["status"] = "unchecked"
        return
    for device in found["devices"]:
        for layer, path in models.items():
            own = model_of(f"{layer}-{name}-{device['device']}", suffixes) or path
            assert own is not None
            if layer == "conv3d" and device["device"] in runtime.without_conv3d:
                device[layer] = ABSENT
                continue
            device[layer] = RUNNING
            yield
            device[layer] = try_layer(runtime, own, device["device"], layer)
    results = [device[layer] for device in found["devices"] for layer in LAYERS]
    if all(runs(result) or result == ABSENT for result in results):
        found["status"] = "ok"
