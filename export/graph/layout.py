"""Axes of the ends of an ONNX model of someone else, found by their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.graph.model import (
    attributes,
    axis_sizes,
    malformed_is_error,
    network_input,
)
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

# K stands for the clips of one video, of which there is one.
_LAYOUTS = ("NCTHW", "NTHWC", "NTCHW", "NKCTHW", "NKTHWC", "NKTCHW")
_ELEMENTWISE = frozenset(
    {"Add", "Cast", "DequantizeLinear", "Div", "Identity", "Mul", "QuantizeLinear", "Sub"}
)


@malformed_is_error()
def input_layout(model: onnx.ModelProto, spec: ModelSpec) -> str:
    """Return the axes of a model's input, in letters: N, K (clips of a video), C, T, H and W.

    Raises:
        SpecError: the model has more than one input, or none that a clip of the spec fits.
    """
    value = network_input(model)
    found = axis_sizes(value)
    if not found:
        return "NCTHW"
    fits = [layout for layout in _LAYOUTS if _fits(found, layout, spec)]
    if not fits:
        raise SpecError(_misfit(value.name, found, spec))
    if len(fits) > 1:  # the same sizes, such as three frames, or open ones
        channels = _channel_axis(model, value.name)
        fits = [layout for layout in fits if layout.find("C") == channels] or fits
    return fits[0]


def _fits(found: Sequence[int | None], layout: str, spec: ModelSpec) -> bool:
    sizes = clip_sizes(spec)
    return len(found) == len(layout) and all(
        have in (None, sizes[axis]) for have, axis in zip(found[1:], layout[1:])
    )


def clip_sizes(spec: ModelSpec) -> dict[str, int]:
    """Return the size of each axis of a clip but N."""
    height, width = spec.crop.height, spec.crop.width
    return {"K": 1, "C": 3, "T": spec.clip.frames, "H": height, "W": width}


def _misfit(name: str, found: Sequence[int | None], spec: ModelSpec) -> str:
    text = ", ".join("?" if size is None else str(size) for size in found)
    if len(found) == 6 and (found[1] or 1) > 1 and _fits([found[0], *found[2:]], "NCTHW", spec):
        return (
            f"the model's {name} is ({text}), which is {found[1]} clips of a video in one call; "
            "export it for one clip"
        )
    if len(found) == 4:
        return (
            f"the model's {name} is ({text}), which is images and not clips of several frames; "
            "give a network of clips"
        )
    expected = ", ".join(str(size) for size in list(clip_sizes(spec).values())[1:])
    return (
        f"the model's {name} is ({text}) but the recipe (preset or spec) has (N, {expected}), in "
        "this order of N, C, T, H, W or as NTHWC, NTCHW or with an axis of clips; "
        + (_options(found, spec) or "export the model with these sizes, or give another recipe")
    )


def _options(found: Sequence[int | None], spec: ModelSpec) -> str | None:
    """Return what to give for the sizes that a model has; None if nothing mends it."""
    axes = ["NCTHW", "NTHWC", "NTCHW"] if len(found) == 5 else list(_LAYOUTS[3:])
    for layout in axes:
        sizes = dict(zip(layout, found, strict=False))
        frames, height, width = (sizes.get(axis) for axis in "THW")
        one = len(found) == len(layout) and sizes.get("K") in (None, 1)
        if not one or sizes["C"] != 3 or height != width:
            continue
        wanted = clip_sizes(spec)
        given = [f"--frames {frames}"] if frames not in (None, wanted["T"]) else []
        given += [f"--size {height}"] if height not in (None, wanted["H"]) else []
        return f"give {' '.join(given)}" if given else None
    return None


def _channel_axis(model: onnx.ModelProto, name: str) -> int | None:
    """Return which axis of the input the first convolution takes for its channels."""
    order: list[int] | None = None
    for _ in range(len(model.graph.node)):
        readers = [node for node in model.graph.node if name in node.input]
        if len(readers) != 1:
            return None
        node = readers[0]
        if node.op_type == "Conv":
            return 1 if order is None else order[1]
        if node.op_type == "Transpose":
            perm = list(attributes(node).get("perm", ()))
            if not perm:
                return None
            order = perm if order is None else [order[axis] for axis in perm]
        elif node.op_type not in _ELEMENTWISE:
            return None
        name = node.output[0]
    return None


def class_axes(shape: Sequence[int], classes: int) -> tuple[int, ...] | None:
    """Return the axes over which an output is averaged to (N, classes).

    Args:
        shape: of an output for N clips, (N, ...); or (classes,) for one.
        classes: number of labels.

    Returns:
        The axes, those of size 1 among them; none of them for (N, classes) and (classes,). None
        where the shape has no axis of that size.
    """
    rank = len(shape)
    if rank < 2:
        return () if rank == 0 or shape[0] == classes or classes == 1 else None
    axis = 1 if shape[1] == classes else rank - 1
    if shape[axis] != classes:
        # A single value for each clip may have no axis of its own.
        return None
    return tuple(each for each in range(1, rank) if each != axis)


def class_misfit(name: str, shape: Sequence[int | None], classes: int) -> str:
    """Return the sentence for an output that has no axis of the spec's classes."""
    text = ", ".join("?" if size is None else str(size) for size in shape)
    if any(size not in (None, 1) for size in shape[3:]):
        return (
            f"the model's {name} is a feature map ({text}), and not scores of {classes} classes; "
            "export the network with its classifier, or choose another output (--output)"
        )
    return (
        f"the model's {name} is ({text}) but the recipe (preset or spec) has {classes} labels; "
        "give one label per class (--labels), or choose another output (--output)"
    )


def by_class(outputs: np.ndarray, classes: int, name: str) -> np.ndarray:
    """Return outputs for N clips, (N, ...), as (N, classes): the mean over all further axes.

    Args:
        outputs: of a model.
        classes: number of labels.
        name: of the output, for the error.

    Raises:
        SpecError: no axis has that size.
    """
    axes = class_axes(outputs.shape, classes)
    if axes is None and np.issubdtype(outputs.dtype, np.integer):
        raise SpecError(
            f"the model's {name} is the number of a class ({outputs.dtype}), and not scores of "
            f"{classes} classes; export the network without its ArgMax, or choose another output "
            "(--output)"
        )
    if axes is None:
        raise SpecError(class_misfit(name, [None, *outputs.shape[1:]], classes))
    found: np.ndarray = outputs.mean(axis=axes, dtype=np.float64) if axes else outputs
    return found.reshape(len(outputs), classes)
