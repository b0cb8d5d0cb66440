"""A reference implementation of video ResNets in NumPy, straight from the named parameters.

Exported models are compared with it. It is written for reading, shares no code with the builder of
graphs, and does not fold batch norms.

The dtype of the clips is that of the arithmetic. The callers choose float32: its logits differ
from those in float64 by a few 1e-7 of the largest, far below the tolerance they are compared with,
at half the time and memory. Sums over long axes (the pooling and the classifier) are always
float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from r2p_edge.export.checkpoints.layouts import Triple
from r2p_edge.export.checkpoints.structure import NORM, Block, Conv, Norm, Relu, Step, VideoNetwork


def reference_logits(
    parameters: Mapping[str, np.ndarray], network: VideoNetwork, clips: np.ndarray
) -> np.ndarray:
    """Compute the network's logits.

    Args:
        parameters: canonically named.
        network: that `checkpoints.network.network_from_parameters` found in them.
        clips: normalised, (N, 3, T, H, W), float32 or float64. They are computed one after the
            other, so that memory does not grow with N.

    Returns:
        float64 (N, classes).
    """
    logits = []
    for clip in clips:
        for name, value in reference_activations(parameters, network, clip[None]):
            if name == "logits":
                logits.append(value)
    return np.concatenate(logits)


def reference_activations(
    parameters: Mapping[str, np.ndarray], network: VideoNetwork, clips: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Run the network and yield its named activations, in order.

    An activation has the name of the module whose output it is, with `.relu` added after a ReLU;
    a block's output has the block's name, and the last one is "logits". Arguments are those of
    `reference_logits`. Arrays are (N, C, T, H, W), the logits (N, classes); each is valid until
    the next one is yielded.
    """
    # Channels last, so that a convolution is a matrix product of the C axis.
    x = pixels = np.moveaxis(clips, 1, -1)
    for name, x in _run(parameters, network.stem, pixels):
        yield name, _channels_first(x)
    for block in network.blocks:
        if not isinstance(block, Block):
            given = x
            for name, given in _run(parameters, block.before, x):
                yield name, _channels_first(given)
            parts = []
            for branch in block.branches:
                for name, part in _run(parameters, branch, given):
                    yield name, _channels_first(part)
                parts.append(part)
            x = np.concatenate(parts, axis=-1)
            yield block.name, _channels_first(x)
            continue
        y = shortcut = x
        for name, y in _run(parameters, block.steps, x):
            yield name, _channels_first(y)
        for name, shortcut in _run(parameters, block.shortcut, x):
            yield name, _channels_first(shortcut)
        x = relu(y + shortcut) if block.relu else y + shortcut
        yield block.name, _channels_first(x)
    if network.window is not None:
        windows = sliding_window_view(x, network.window, axis=(1, 2, 3))
        x = windows.mean(axis=(-3, -2, -1), dtype=np.float64)
    pooled = x.mean(axis=(1, 2, 3), dtype=np.float64)
    yield "pool", pooled
    for name in network.hidden:
        weight = parameters[f"{name}.weight"].astype(np.float64)
        pooled = relu(pooled @ weight.T + parameters[f"{name}.bias"])
        yield f"{name}.relu", pooled
    yield "logits", pooled @ parameters["fc.weight"].T.astype(np.float64) + parameters["fc.bias"]


def _run(
    parameters: Mapping[str, np.ndarray], steps: Sequence[Step], x: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what steps make of x, (N, T, H, W, C): the outputs that graphs have too.

    The first of them is a convolution, so that x itself is not changed.
    """
    dtype = x.dtype
    for step, following in zip_longest(steps, steps[1:]):
        if isinstance(step, Conv):
            weight = parameters[f"{step.name}.weight"].astype(dtype)
            kernel = weight.shape[2:]
            x = np.pad(x, _padding(x, kernel, step.stride, same=step.same))
            x = convolve(x, weight, step.stride)
            if f"{step.name}.bias" in parameters:
                x += parameters[f"{step.name}.bias"].astype(dtype)
            if not isinstance(following, Norm):
                yield step.name, x
        elif isinstance(step, Norm):
            scale, shift, mean, variance = (
                parameters[f"{step.name}.{leaf}"].astype(np.float64) for leaf in NORM
            )
            x -= mean.astype(dtype)
            x /= np.sqrt(variance + step.eps).astype(dtype)
            x *= scale.astype(dtype)
            x += shift.astype(dtype)
            if not isinstance(following, Relu):
                yield step.name, x
        elif isinstance(step, Relu):
            x = relu(x)
            yield f"{step.after}.relu", x
        else:
            padding = _padding(x, step.kernel, step.stride, same=step.same)
            x = max_pool(np.pad(x, padding, constant_values=-np.inf), step.kernel, step.stride)
            yield step.name, x


def _padding(
    x: np.ndarray, kernel: Sequence[int], stride: Triple, *, same: bool
) -> list[tuple[int, int]]:
    """Return the padding of each axis of x (N, T, H, W, C).

    That of "SAME" is by the remainder, as piergiaj/pytorch-i3d has it in compute_pad.
    """
    sides = []
    for size, length, step in zip(x.shape[1:4], kernel, stride, strict=True):
        half = (length - 1) // 2
        total = max(length - (size % step or step), 0)
        sides.append((total // 2, total - total // 2) if same else (half, half))
    return [(0, 0), *sides, (0, 0)]


def max_pool(x: np.ndarray, kernel: Triple, stride: Triple) -> np.ndarray:
    """Return the largest of each window of x (N, T, H, W, C)."""
    windows = sliding_window_view(x, kernel, axis=(1, 2, 3))
    result: np.ndarray = windows[:, :: stride[0], :: stride[1], :: stride[2]].max(axis=(-3, -2, -1))
    return result


def convolve(x: np.ndarray, weight: np.ndarray, stride: Triple) -> np.ndarray:
    """Cross-correlate x (N, T, H, W, C) with weight (O, C, kt, kh, kw), without a bias.

    There is one matrix product per row of the kernel, summed in place: the rows' windows are
    copied one at a time, so memory stays at kw times the input.

    Returns:
        (N, T', H', W', O), of x's dtype.
    """
    outputs, inputs, kt, kh, kw = weight.shape
    t, h, w = ((x.shape[i + 1] - weight.shape[i + 2]) // stride[i] + 1 for i in range(3))
    result = np.zeros((len(x) * t * h * w, outputs), x.dtype)
    for dt in range(kt):
        for dh in range(kh):
            rows = x[:, dt :: stride[0], dh :: stride[1]][:, :t, :h]
            windows = sliding_window_view(rows, kw, axis=3)[:, :, :, :: stride[2]]
            # (N, T', H', W', C, kw) to one line of kw * C numbers per position.
            lines = windows.swapaxes(-1, -2).reshape(len(result), kw * inputs)
            result += lines @ weight[:, :, dt, dh].transpose(2, 1, 0).reshape(kw * inputs, outputs)
    grid: np.ndarray = result.reshape(len(x), t, h, w, outputs)
    return grid


def relu(x: np.ndarray) -> np.ndarray:
    """Apply a ReLU in place."""
    np.maximum(x, 0, out=x)
    return x


def _channels_first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1)
