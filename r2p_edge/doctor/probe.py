"""What `r2p-edge doctor` tries in a Python of its own: a runtime, or a decoder.

Before each step it reports all that it knows by then; so if the step hangs or ends the process, it
is known which.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._optional import import_library
from r2p_edge.errors import BackendError, MissingDependencyError, one_line
from r2p_edge.runtimes import RUNTIMES, runtime_type
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.spec.model_spec import ClipSpec, CropSpec, InputSpec, ModelSpec, ResizeSpec

LAYERS = {"conv3d": (4, 8, 8), "conv2d": (8, 8)}
"""Test models, `assets/<name>.onnx` and .mindir, and the size of their input behind (1, 3). Each is
one convolution of 3 to 2 channels with bias, kernel 3 and padding 1 along every axis."""

WAITING, RUNNING = "not checked", "running"
"""Of a layer, instead of "ok" or a reason, until it has been tried."""

ABSENT = "none"
"""Of a layer that the device lacks on every machine: no defect of this one, so it is not tried."""

Report = dict[str, Any]

_TOLERANCE = 0.1  # the outputs are whole numbers, which a Winograd convolution may miss by rounding
_DECODERS = {
    "h264": ["h264"],
    "hevc": ["hevc"],
    "mpeg4": ["mpeg4"],
    "av1": ["libdav1d", "libaom-av1"],  # FFmpeg's own decoder av1 needs a GPU
    "vp9": ["vp9"],
    "mjpeg": ["mjpeg"],
}


def blank(what: str) -> Report:
    """What is known of a runtime, "pyav" or "opencv" before it is tried."""
    more: dict[str, Report] = {
        "pyav": {"libraries": {}, "decoders": {}},
        "opencv": {"gstreamer": None},
    }
    return {
        "status": "broken",
        "version": None,
        "reason": None,
        "install": None,
        **more.get(what, {"devices": []}),
    }


def probe(report: Callable[[Report], None], what: str) -> None:
    """Tries a runtime, "pyav" or "opencv", and reports all that is known before each step."""
    found = blank(what)
    for _ in check(what, found):
        report(found)
    report(found)


def check(what: str, found: Report) -> Iterator[None]:
    """Tries a runtime, "pyav" or "opencv" in this process; `found` grows from yield to yield."""
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
    except ValueError:  # there is none of that name
        return False
    return True


def _check_opencv(found: Report) -> Iterator[None]:
    yield
    cv2 = _load(found, lambda: import_library("cv2", 'pip install "r2p_edge[opencv]"'))
    if cv2 is not None:
        match = re.search(r"GStreamer:\s+(YES|NO)", cv2.getBuildInformation())
        found["gstreamer"] = match and match[1] == "YES"
        found["status"] = "ok"


def _load(found: Report, load: Callable[[], ModuleType]) -> ModuleType | None:
    """What `load` imports; None, and the reason in `found`, where it cannot."""
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
    yield
    try:
        devices = runtime.devices()
    except Exception as error:  # what a driver that does not fit brings about is the library's
        found["reason"] = one_line(error)
        return
    if not devices:
        found["reason"] = f"{name} finds no device"
        return
    found["devices"] = [{"device": each, **dict.fromkeys(LAYERS, WAITING)} for each in devices]
    suffixes = RUNTIMES[name].suffixes + runtime.builds_from
    models = {layer: _model(layer, suffixes) for layer in LAYERS}
    if None in models.values():
        found["status"] = "unchecked"
        return
    for device in found["devices"]:
        for layer, path in models.items():
            assert path is not None
            if layer == "conv3d" and device["device"] in runtime.without_conv3d:
                device[layer] = ABSENT
                continue
            device[layer] = RUNNING
            yield
            device[layer] = _run(runtime, path, device["device"], layer)
    results = [device[layer] for device in found["devices"] for layer in LAYERS]
    if all(runs(result) or result == ABSENT for result in results):
        found["status"] = "ok"


def runs(result: str) -> bool:
    """Whether a layer's result is that it ran, in whatever precision."""
    return result.startswith("ok")


def _model(layer: str, suffixes: tuple[str, ...]) -> Path | None:
    """The file of a test model in one of these formats, if the package has one."""
    folder = Path(str(resources.files("r2p_edge") / "assets"))
    paths = (folder / f"{layer}{suffix}" for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def _run(runtime: type[Runtime], path: Path, device: str, layer: str) -> str:
    """Runs a test model; "ok", or the reason why it is not.

    A device that has no fp32, as an NPU, is tried in fp16 and then "ok in fp16". Either reason may
    be the one that counts.
    """
    result = _run_in(runtime, path, Options(device=device), layer)
    if result == "ok":
        return result
    half = _run_in(runtime, path, Options(device=device, precision="fp16"), layer)
    if half == "ok":
        return "ok in fp16"
    return result if half == result else f"{result}; in fp16: {half}"


def _run_in(runtime: type[Runtime], path: Path, options: Options, layer: str) -> str:
    batch, _, _, expected = case(layer)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = runtime.prepare(path, Path(folder), options)
            with contextlib.closing(runtime.open(path, _spec(layer), options)) as model:
                output = model.run(batch)
    except Exception as error:  # as above: a library raises what it likes
        return one_line(error)
    if output.shape != expected.shape:
        return f"wrong shape: {output.shape}, not {expected.shape}"
    off = float(np.abs(output - expected).max())
    # NaN compares as False.
    return "ok" if off <= _TOLERANCE else f"wrong numbers: off by up to {off:g}"


def case(layer: str) -> tuple[npt.NDArray[np.float32], ...]:
    """Input, weights, bias and expected output of a test model, all of them float32.

    They are whole numbers below 256, so sums of them are exact in bf16 and fp16 too, and their
    periods divide no axis, so that a mirrored or permuted axis shows.
    """
    size = LAYERS[layer]
    axes = tuple(range(2, 2 + len(size)))
    kernel = (3,) * len(size)
    batch, weights = _pattern((1, 3, *size), 5), _pattern((2, 3, *kernel), 7) - 1
    bias = np.array([1, -2], np.float32)
    padded = np.pad(batch, [(0, 0), (0, 0)] + [(1, 1)] * len(size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axes)
    summed = [1, *(axis + len(size) for axis in axes)]  # channels, and the axes of each window
    sums = np.tensordot(windows, weights, (summed, [1, *axes]))
    return batch, weights, bias, np.moveaxis(sums + bias, -1, 1)


def _pattern(shape: tuple[int, ...], period: int) -> npt.NDArray[np.float32]:
    numbers = np.arange(np.prod(shape)) * 3 % period % 3
    return numbers.astype(np.float32).reshape(shape)


def _spec(layer: str) -> ModelSpec:
    *_, height, width = LAYERS[layer]
    return ModelSpec(
        name=layer,
        labels=("first", "second"),
        clip=ClipSpec(frames=4, interval=1, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=height, width=width),
        crop=CropSpec(height=height, width=width),
        scale=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        input=InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False),
    )
