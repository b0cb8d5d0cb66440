"""A check of a checkpoint's parameters against the names and shapes that a network needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from r2p_edge.errors import CheckpointError

ParameterShape = tuple[int, ...]

UNKNOWN = -1
"""Size of an axis that depends on a missing parameter; it fits any size."""

_CHANNELS = {
    1: "grey or thermal pictures",
    2: "optical flow",
    4: "RGB with depth or transparency",
}


def check_parameters(
    parameters: Mapping[str, np.ndarray],
    expected: Mapping[str, ParameterShape],
    names: Mapping[str, str],
    network: str = "R(2+1)D",
) -> None:
    """Check names, shapes, dtypes and values, and report every problem at once.

    Args:
        parameters: arrays by canonical name.
        expected: shape of every parameter of the network, that of the first convolution first;
            `UNKNOWN` sizes fit any.
        names: names in the file by canonical name, which errors show; others are as they are.
        network: its kind, for errors.

    Raises:
        CheckpointError: a parameter is missing, unknown, has another shape or dtype, contains NaN
            or infinity, or is a negative variance.
    """
    _check_channels(parameters, expected, names)
    problems = [
        f"{names.get(name, name)} is missing, expected {_text(shape)}"
        for name, shape in expected.items()
        if name not in parameters
    ]
    problems += [
        f"{names.get(name, name)} is {_text(parameters[name].shape)}, expected {_text(shape)}"
        for name, shape in expected.items()
        if name in parameters and not _fits(parameters[name].shape, shape)
    ]
    problems += [
        f"{names.get(name, name)} {_text(value.shape)} is not part of the network"
        for name, value in parameters.items()
        if name not in expected
    ]
    if problems:
        raise CheckpointError(
            f"these are not the parameters of an {network} network: {_shortened(problems)}; "
            f"give the checkpoint of an {network} network, or bring another network as an ONNX "
            "file or, with its code, as --module FILE:FACTORY"
        )
    _check_dtypes({names.get(name, name): parameters[name] for name in expected})
    problems = [
        f"{names.get(name, name)} {problem}"
        for name in expected
        if (problem := _bad_value(name, parameters[name])) is not None
    ]
    if problems:
        raise CheckpointError(
            f"the parameters cannot be those of a trained network: {_shortened(problems)}; its "
            "training diverged or the file is damaged, so give an earlier checkpoint"
        )


def _check_dtypes(parameters: Mapping[str, np.ndarray]) -> None:
    """Raise CheckpointError if numbers are not floating point."""
    others = [
        f"{name} is {array.dtype}" for name, array in parameters.items() if array.dtype.kind != "f"
    ]
    if others:
        raise CheckpointError(
            f"not all of its tensors are floating point ({_shortened(others, 3)}), as of quantised "
            "weights; save the floating-point weights, and quantise them here with --precision int8"
        )


def _check_channels(
    parameters: Mapping[str, np.ndarray],
    expected: Mapping[str, ParameterShape],
    names: Mapping[str, str],
) -> None:
    """Raise CheckpointError if the first convolution is of other pictures than RGB."""
    name, (filters, channels, *kernel) = next(iter(expected.items()))
    have = parameters[name].shape if name in parameters else ()
    if have[1:2] != (channels,) and _fits(have, (filters, *have[1:2], *kernel)):
        kind = _CHANNELS.get(have[1], "other pictures than RGB")
        raise CheckpointError(
            f"the network takes {have[1]} channel{'s' if have[1] > 1 else ''}, as of {kind} "
            f"({names.get(name, name)} is {_text(have)}), and only networks for RGB are read; "
            "give the one that was trained on RGB"
        )


def _bad_value(name: str, value: np.ndarray) -> str | None:
    broken = value.size - np.count_nonzero(np.isfinite(value))
    if broken:
        return f"has {broken} of {value.size} numbers NaN or infinite"
    if name.endswith(".running_var") and value.min() < 0:
        return f"is a variance but goes down to {value.min():.3g}"
    return None


def _fits(shape: ParameterShape, expected: ParameterShape) -> bool:
    return len(shape) == len(expected) and all(
        want in (have, UNKNOWN) for have, want in zip(shape, expected, strict=True)
    )


def _text(shape: ParameterShape) -> str:
    numbers = ", ".join("?" if n == UNKNOWN else str(n) for n in shape)
    return f"({numbers}{',' if len(shape) == 1 else ''})"


def _shortened(problems: list[str], shown: int = 6) -> str:
    rest = len(problems) - shown
    return "; ".join(problems[:shown]) + (f"; and {rest} more" if rest > 0 else "")
