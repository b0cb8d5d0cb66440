"""Are these the parameters of that network? Every way in which they are not is listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import CheckpointError

if TYPE_CHECKING:
    from r2p_edge.export.graph.r2plus1d import VideoResNet

UNKNOWN = -1
"""Number of channels where only a missing parameter could tell it; fits any number."""


def check_parameters(parameters: Mapping[str, np.ndarray], network: VideoResNet) -> None:
    """Checks names, shapes and numbers.

    Raises:
        CheckpointError: see `video_resnet.network_from_parameters`.
    """
    expected = dict(_shapes(network))
    problems = [
        f"{name} is missing, expected {_text(shape)}"
        for name, shape in expected.items()
        if name not in parameters
    ]
    problems += [
        f"{name} is {_text(parameters[name].shape)}, expected {_text(shape)}"
        for name, shape in expected.items()
        if name in parameters and not _fits(parameters[name].shape, shape)
    ]
    problems += [
        f"{name} {_text(value.shape)} is not part of the network"
        for name, value in parameters.items()
        if name not in expected
    ]
    if problems:
        raise CheckpointError(
            f"these are not the parameters of an R(2+1)D network: {_shortened(problems)}; "
            "give a checkpoint of one, or export another model from ONNX or PyTorch"
        )
    problems = [
        problem for name in expected if (problem := _bad_value(name, parameters[name])) is not None
    ]
    if problems:
        raise CheckpointError(
            f"the parameters cannot be those of a trained network: {_shortened(problems)}; "
            "save or download the checkpoint again"
        )


def _shapes(network: VideoResNet) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every parameter of the network, in the order of execution."""

    def norm(name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        for field in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.{field}", (channels,)

    yield "conv1.weight", (network.stem, 3, 1, 7, 7)
    yield from norm("bn1", network.stem)
    yield "conv2.weight", (network.width, network.stem, 3, 1, 1)
    yield from norm("bn2", network.width)
    for block in network.blocks:
        for i, inputs in ((1, block.inputs), (2, block.outputs)):
            name, mid = f"{block.name}.conv{i}", block.mids[i - 1]
            yield f"{name}.conv1.weight", (mid, inputs, 1, 3, 3)
            yield from norm(f"{name}.bn1", mid)
            yield f"{name}.conv2.weight", (block.outputs, mid, 3, 1, 1)
            yield from norm(f"{block.name}.bn{i}", block.outputs)
        if block.downsample:
            name = f"{block.name}.downsample"
            yield f"{name}.0.weight", (block.outputs, block.inputs, 1, 1, 1)
            yield from norm(f"{name}.1", block.outputs)
    yield "fc.weight", (network.classes, network.blocks[-1].outputs)
    yield "fc.bias", (network.classes,)


def _bad_value(name: str, value: np.ndarray) -> str | None:
    if value.dtype.kind != "f":
        return f"{name} is of dtype {value.dtype}, expected floating point"
    broken = value.size - np.count_nonzero(np.isfinite(value))
    if broken:
        return f"{name} has {broken} of {value.size} numbers NaN or infinite"
    if name.endswith(".running_var") and value.min() < 0:
        return f"{name} is a variance but goes down to {value.min():.3g}"
    return None


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        want in (have, UNKNOWN) for have, want in zip(shape, expected, strict=True)
    )


def _text(shape: tuple[int, ...]) -> str:
    numbers = ", ".join("?" if n == UNKNOWN else str(n) for n in shape)
    return f"({numbers}{',' if len(shape) == 1 else ''})"


def _shortened(problems: list[str], shown: int = 6) -> str:
    rest = len(problems) - shown
    return "; ".join(problems[:shown]) + (f"; and {rest} more" if rest > 0 else "")
