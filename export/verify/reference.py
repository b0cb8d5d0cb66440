"""A reference implementation of R(2+1)D in NumPy, straight from the named parameters.

Exported models are compared with it. It is written for reading, shares no code with the builder of
graphs, and does not fold batch norms.

The dtype of the clips is that of the arithmetic. The callers choose float32: its logits differ
from those in float64 by a few 1e-7 of the largest, far below the tolerance they are compared with,
at half the time and memory. Sums over long axes (the pooling and the classifier) are always
float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_Triple = tuple[int, int, int]


def reference_logits(
    parameters: Mapping[str, np.ndarray], bn_eps: float, clips: np.ndarray
) -> np.ndarray:
    """Compute the network's logits.

    Args:
        parameters: canonically named, checked by `checkpoints.network.network_from_parameters`.
        bn_eps: epsilon of every batch norm.
        clips: normalised, (N, 3, T, H, W), float32 or float64. They are computed one after the
            other, so that memory does not grow with N.

    Returns:
        float64 (N, classes).
    """
    logits = []
    for clip in clips:
        for name, value in reference_activations(parameters, bn_eps, clip[None]):
            if name == "logits":
                logits.append(value)
    return np.concatenate(logits)


def reference_activations(
    parameters: Mapping[str, np.ndarray], bn_eps: float, clips: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Run the network and yield its named activations, in order.

    An activation has the name of the module whose output it is, with `.relu` added after a ReLU;
    a block's output has the block's name, and the last one is "logits". Arguments are those of
    `reference_logits`. Arrays are (N, C, T, H, W), the logits (N, classes); each is valid until
    the next one is yielded.
    """
    network = _Network(parameters, bn_eps, clips.dtype)
    # Channels last, so that a convolution is a matrix product of the C axis.
    x = np.moveaxis(clips, 1, -1)

    x = relu(network.conv_bn(x, "conv1", "bn1", stride=(1, 2, 2), padding=(0, 3, 3)))
    yield "bn1.relu", _channels_first(x)
    x = relu(network.conv_bn(x, "conv2", "bn2", padding=(1, 0, 0)))
    yield "bn2.relu", _channels_first(x)
    for stage in (1, 2, 3, 4):
        for index in range(network.blocks(stage)):
            name, s = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1
            y = network.conv_bn(x, f"{name}.conv1.conv1", f"{name}.conv1.bn1", (1, s, s), (0, 1, 1))
            y = relu(y)
            yield f"{name}.conv1.bn1.relu", _channels_first(y)
            y = relu(network.conv_bn(y, f"{name}.conv1.conv2", f"{name}.bn1", (s, 1, 1), (1, 0, 0)))
            yield f"{name}.bn1.relu", _channels_first(y)
            y = relu(
                network.conv_bn(y, f"{name}.conv2.conv1", f"{name}.conv2.bn1", padding=(0, 1, 1))
            )
            yield f"{name}.conv2.bn1.relu", _channels_first(y)
            y = network.conv_bn(y, f"{name}.conv2.conv2", f"{name}.bn2", padding=(1, 0, 0))
            yield f"{name}.bn2", _channels_first(y)
            if f"{name}.downsample.0.weight" in parameters:
                x = network.conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", (s, s, s))
                yield f"{name}.downsample.1", _channels_first(x)
            x = relu(y + x)
            yield name, _channels_first(x)
    pooled = x.mean(axis=(1, 2, 3), dtype=np.float64)
    yield "pool", pooled
    yield "logits", pooled @ parameters["fc.weight"].T.astype(np.float64) + parameters["fc.bias"]


class _Network:
    """The parameters, and the module that uses them."""

    def __init__(
        self, parameters: Mapping[str, np.ndarray], bn_eps: float, dtype: np.dtype
    ) -> None:
        self._parameters = parameters
        self._bn_eps = bn_eps
        self._dtype = dtype

    def blocks(self, stage: int) -> int:
        """Return the number of blocks in a stage."""
        count = 0
        while f"layer{stage}.{count}.conv1.conv1.weight" in self._parameters:
            count += 1
        return count

    def conv_bn(
        self,
        x: np.ndarray,
        conv: str,
        bn: str,
        stride: _Triple = (1, 1, 1),
        padding: _Triple = (0, 0, 0),
    ) -> np.ndarray:
        """Apply a convolution and the batch norm after it."""
        x = convolve(x, self._parameters[f"{conv}.weight"].astype(self._dtype), stride, padding)
        x -= self._parameters[f"{bn}.running_mean"].astype(self._dtype)
        variance = self._parameters[f"{bn}.running_var"].astype(np.float64)
        x /= np.sqrt(variance + self._bn_eps).astype(self._dtype)
        x *= self._parameters[f"{bn}.weight"].astype(self._dtype)
        x += self._parameters[f"{bn}.bias"].astype(self._dtype)
        return x


def convolve(x: np.ndarray, weight: np.ndarray, stride: _Triple, padding: _Triple) -> np.ndarray:
    """Cross-correlate x (N, T, H, W, C) with weight (O, C, kt, kh, kw), without a bias.

    There is one matrix product per row of the kernel, summed in place: the rows' windows are
    copied one at a time, so memory stays at kw times the input.

    Returns:
        (N, T', H', W', O), of x's dtype.
    """
    outputs, inputs, kt, kh, kw = weight.shape
    x = np.pad(x, [(0, 0), *((p, p) for p in padding), (0, 0)])
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
