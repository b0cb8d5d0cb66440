"""Axes of the ends of an ONNX model of someone else, found by their sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from r2p_edge.errors import SpecError
from r2p_edge.export.graph.axes import CONVOLUTIONS, WEIGHTED, Follower
from r2p_edge.export.graph.model import axis_sizes, malformed_is_error, network_input
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

# K stands for the clips of one video, of which there is one.
_LAYOUTS = ("NCTHW", "NTHWC", "NTCHW", "NKCTHW", "NKTHWC", "NKTCHW")


@malformed_is_error()
def input_layout(model: onnx.ModelProto, spec: ModelSpec, known: str | None = None) -> str:
    """Return the axes of a model's input, in letters: N, K (clips of a video), C, T, H and W.

    Args:
        model: an ONNX model.
        spec: the contract, for the sizes.
        known: the axes that an artifact's own spec says.

    Raises:
        SpecError: the model has more than one input, or none that a clip of the spec fits, or one
            that it fits in several ways of which the graph shows none.
    """
    value = network_input(model)
    found = axis_sizes(value) or [None] * 5
    fits = [layout for layout in _LAYOUTS if _fits(found, layout, spec)]
    if not fits:
        raise SpecError(_misfit(value.name, found, spec))
    if known in fits:
        fits = [known]
    if len(fits) > 1:  # the same sizes, such as three frames, or open ones
        shown = [each for each in fits if _channel_axis(model, each, spec) == each.find("C")]
        if len(shown) != 1:
            raise SpecError(_ambiguous(value.name, found, fits))
        fits = shown
    return fits[0]


def _ambiguous(name: str, found: Sequence[int | None], fits: Sequence[str]) -> str:
    text = ", ".join("?" if size is None else str(size) for size in found)
    way = "with its channels last (N, T, H, W, 3), from a module that permutes them"
    if None in found[1:]:
        way = "with fixed sizes of all axes but N"
    return (
        f"the model's {name} is ({text}), which may be {' or '.join(fits)}, and its first layers "
        f"do not show which; export it {way}"
    )


def _fits(found: Sequence[int | None], layout: str, spec: ModelSpec) -> bool:
    sizes = clip_sizes(spec)
    return len(found) == len(layout) and all(
        have in (None, sizes[axis]) for have, axis in zip(found[1:], layout[1:])
    )


def clip_sizes(spec: ModelSpec) -> dict[str, int]:
    """Return the size of each axis of a clip but N."""
    height, width = spec.crop.height, spec.crop.width
    return {"K": 1, "C": spec.channels, "T": spec.clip.frames, "H": height, "W": width}


def input_sizes(layout: str, spec: ModelSpec) -> list[int]:
    """Return the sizes of an input of those axes for one clip."""
    sizes = {"N": 1, **clip_sizes(spec)}
    return [sizes[axis] for axis in layout]


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
        if not one or sizes["C"] != spec.channels or height != width:
            continue
        wanted = clip_sizes(spec)
        given = [f"--frames {frames}"] if frames not in (None, wanted["T"]) else []
        given += [f"--size {height}"] if height not in (None, wanted["H"]) else []
        return f"give {' '.join(given)}" if given else None
    return None


def _channel_axis(model: onnx.ModelProto, layout: str, spec: ModelSpec) -> int | None:
    """Return which axis of the input its first convolutions take for channels.

    Args:
        model: an ONNX model.
        layout: the axes, for sizes that the model leaves open.
        spec: the contract, for these sizes.
    """
    follower = Follower(model, input_sizes(layout, spec))
    start = {follower.input: tuple(frozenset({axis}) for axis in range(len(layout)))}
    marks = follower.marks(start, WEIGHTED)
    found = set()
    for node in follower.nodes:
        if node.op_type in WEIGHTED and node.input[0] in marks:
            axes = marks[node.input[0]]
            found.add(axes[1] if node.op_type in CONVOLUTIONS and len(axes) > 1 else None)
    places = found.pop() if len(found) == 1 else None
    return next(iter(places)) if places is not None and len(places) == 1 else None


def class_axes(
    shape: Sequence[int], classes: int, shown: int | None = None
) -> tuple[int, ...] | None:
    """Return the axes over which an output is averaged to (N, classes).

    Args:
        shape: of an output for N clips, (N, ...); or (classes,) for one.
        classes: number of labels.
        shown: the axis of the classes as the graph shows it, see `ends.class_axis`.

    Returns:
        The axes, those of size 1 among them; none of them for (N, classes) and (classes,). None
        where the shape has no axis of that size, or several.
    """
    rank = len(shape)
    if rank < 2:
        return () if rank == 0 or shape[0] == classes or classes == 1 else None
    fitting = _class_places(shape, classes)
    if len(fitting) > 1 and shown in fitting:
        fitting = [shown]
    if len(fitting) != 1:
        # A single value for each clip may have no axis of its own.
        return None
    return tuple(each for each in range(1, rank) if each != fitting[0])


def _class_places(shape: Sequence[int | None], classes: int) -> list[int]:
    """Return which of the axes that may have the classes have their number."""
    places = [axis for axis in dict.fromkeys((1, len(shape) - 1)) if shape[axis] == classes]
    return places[:1] if classes == 1 else places


def class_misfit(name: str, shape: Sequence[int | None], classes: int) -> str:
    """Return the sentence for an output that has no axis of the spec's classes."""
    text = ", ".join("?" if size is None else str(size) for size in shape)
    if len(shape) > 2 and len(_class_places(shape, classes)) > 1:
        return (
            f"the model's {name} is ({text}), of which the second and the last axis may both be "
            f"that of the {classes} classes; export it with the mean over the other one, as (N, "
            f"{classes})"
        )
    if any(size not in (None, 1) for size in shape[3:]):
        return (
            f"the model's {name} is a feature map ({text}), and not scores of {classes} classes; "
            "export the network with its classifier, or choose another output (--output)"
        )
    return (
        f"the model's {name} is ({text}) but the recipe (preset or spec) has {classes} labels; "
        "give one label per class (--labels), or choose another output (--output)"
    )


def by_class(outputs: np.ndarray, classes: int, name: str, shown: int | None = None) -> np.ndarray:
    """Return outputs for N clips, (N, ...), as (N, classes): the mean over all further axes.

    Args:
        outputs: of a model.
        classes: number of labels.
        name: of the output, for the error.
        shown: the axis of the classes as the graph shows it.

    Raises:
        SpecError: no axis has that size, or several have.
    """
    axes = class_axes(outputs.shape, classes, shown)
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


def mean_doubt(where: str, shape: Sequence[int | None], classes: int) -> str | None:
    """Return the sentence about an output of which the mean is taken; None where it is not.

    Args:
        where: name of the file.
        shape: of the output, (N, ...).
        classes: number of labels.
    """
    rest = list(shape[1:])
    if classes in rest:
        rest.remove(classes)
    if all(size == 1 for size in rest):
        return None
    sizes = ", ".join("?" if size is None else str(size) for size in shape[1:])
    return f"{where} answers (N, {sizes}); the artifact answers the mean for each class"
