"""Test models of one convolution each, by which `doctor` tries a device."""

from __future__ import annotations

import contextlib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import one_line
from r2p_edge.runtimes.base import Options, Runtime
from r2p_edge.spec import ClipSpec, CropSpec, InputSpec, ModelSpec, ResizeSpec

LAYERS = {"conv3d": (4, 8, 8), "conv2d": (8, 8)}
"""Test models, `assets/<name>.onnx` and `.mindir`, and the sizes of their input after (1, 3).

Each is one convolution of 3 to 2 channels with bias, kernel 3 and padding 1 along every axis. A
device that cannot read them has its own, `<name>-<runtime>-<device>.<suffix>`: MindSpore Lite 2.0
reads what its converter wrote, and no `.mindir` of MindSpore 2.10; a Rockchip NPU reads what was
built for its chip."""

WAITING, RUNNING = "not checked", "running"
"""Result of a layer that has not been tried yet, or is being tried."""

ABSENT = "none"
"""Result of a layer that the device lacks on every machine, and which is therefore not tried."""

_TOLERANCE = 0.1  # the outputs are whole numbers, which a Winograd convolution may miss by rounding


def runs(result: str) -> bool:
    """Return whether a layer's result says that it ran, in any precision."""
    return result.startswith("ok")


def model_of(layer: str, suffixes: tuple[str, ...]) -> Path | None:
    """Return the file of a test model in one of these formats, if the package has one."""
    folder = Path(str(resources.files("r2p_edge") / "assets"))
    paths = (folder / f"{layer}{suffix}" for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def try_layer(runtime: type[Runtime], path: Path, device: str, layer: str) -> str:
    """Run a test model and return "ok", "ok in fp16", or the reason of the failure.

    fp16 is tried on devices that fail in fp32, because NPUs lack fp32. Where both fail, both
    reasons are returned, since either may be the one that matters.
    """
    result = _try_in(runtime, path, Options(device=device), layer)
    if result == "ok":
        return result
    half = _try_in(runtime, path, Options(device=device, precision="fp16"), layer)
    if half == "ok":
        return "ok in fp16"
    return result if half == result else f"{result}; in fp16: {half}"


def _try_in(runtime: type[Runtime], path: Path, options: Options, layer: str) -> str:
    """Run a test model with these options and return "ok" or the reason of the failure."""
    batch: npt.NDArray[Any]
    batch, _, _, expected = case(layer)
    spec = _spec(layer)
    if runtime.takes_pixels:
        batch, spec = _pixels(batch), _spec_of_pixels(spec, expected.size)
    try:
        with scratch_folder(path) as folder:
            path = runtime.prepare(path, folder, options)
            with contextlib.closing(runtime.open(path, spec, options)) as model:
                output = model.run(batch)
    except Exception as error:  # a library raises any class
        return one_line(error)
    if runtime.takes_pixels and output.size == expected.size:
        output = output.reshape(expected.shape)
    if output.shape != expected.shape:
        return f"wrong shape: {output.shape}, not {expected.shape}"
    off = float(np.abs(output - expected).max())
    # NaN compares as False.
    return "ok" if off <= _TOLERANCE else f"wrong numbers: off by up to {off:g}"


def case(layer: str) -> tuple[npt.NDArray[np.float32], ...]:
    """Return input, weights, bias and expected output of a test model, all of them float32.

    They are whole numbers below 256, so sums of them are exact in bf16 and fp16 too, and their
    periods divide no axis, so that a mirrored or permuted axis is noticed.
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
    """Return an array of 0, 1 and 2 that repeats after `period` numbers."""
    numbers = np.arange(np.prod(shape)) * 3 % period % 3
    return numbers.astype(np.float32).reshape(shape)


def _pixels(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return the input of "conv2d", float32 (1, C, H, W), as a clip of one image, uint8."""
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)[:, None].astype(np.uint8))


def _spec_of_pixels(spec: ModelSpec, outputs: int) -> ModelSpec:
    """Return the contract of "conv2d" for pixels, with a class for each number of its output."""
    return spec.replace(
        labels=tuple(map(str, range(outputs))),
        precision="fp16",
        clip=ClipSpec(frames=1, interval=1, fps=25.0),
        input=InputSpec(dtype="uint8", layout="NTHWC"),
    )


def _spec(layer: str) -> ModelSpec:
    """Return a contract that fits the test model; runtimes take the tensors' names from it."""
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
