"""Checks of an ONNX model of someone else that need no recipe: whether clips can be shown to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.errors import ModelError, SpecError
from r2p_edge.export.graph.ends import chosen_classes
from r2p_edge.export.graph.foreign import require_evaluation_mode
from r2p_edge.export.graph.model import (
    INPUT_DTYPES,
    axis_sizes,
    keep_output,
    malformed_is_error,
    network_input,
    network_output,
    opset,
)
from r2p_edge.export.graph.operators import check_ops
from r2p_edge.spec.checks import some_of

try:
    import onnx
    from onnx import TensorProto, numpy_helper
except ImportError as error:
    raise missing("onnx") from error

_RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_PARTS = ("graph", "input")  # of a problem that is no operator's
_LEAST_SIDE = 8  # pixels of a picture in which something can be seen
_MODULE = "export it from a module around it that"

Sizes = Sequence["int | None"]


def require_usable(model: onnx.ModelProto, output: str | None = None) -> None:
    """Check that a model takes clips of RGB video, answers classes, and can be run at all.

    Args:
        model: an ONNX model; its list of outputs is reduced to `output`.
        output: name of the output, where it has several.

    Raises:
        SpecError: its input is no clip, or its output no scores.
        ModelError: it cannot be run, or not as the trained network would.
    """
    _require_version(model)
    _require_clips(model)
    require_evaluation_mode(model)
    _require_same_answers(model)
    _require_known_operators(model)
    _require_numbers(model)
    if output is not None:
        keep_output(model, output)
    _require_scores(model)


@malformed_is_error()
def _require_version(model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    found = None
    if opset(model) > newest:
        found = f"opset {opset(model)}, and onnx {onnx.__version__} knows {newest} at most"
    elif model.ir_version > onnx.IR_VERSION:
        found = (
            f"IR version {model.ir_version}, and onnx {onnx.__version__} knows {onnx.IR_VERSION} "
            "at most"
        )
    if found is not None:
        raise ModelError(
            f"the model is of {found}; export it with an older opset "
            "(torch.onnx.export(..., opset_version=17)), or upgrade onnx and onnxruntime"
        )


@malformed_is_error()
def _require_clips(model: onnx.ModelProto) -> None:
    value = network_input(model)
    kind, sizes = value.type.tensor_type.elem_type, axis_sizes(value)
    dtype = INPUT_DTYPES.get(kind) or TensorProto.DataType.Name(kind).lower()
    text = ", ".join("?" if size is None else str(size) for size in sizes)
    taken = f"the model's input {value.name} is {dtype} ({text})"
    if kind not in INPUT_DTYPES and (len(sizes) < 4 or kind == TensorProto.STRING):
        raise SpecError(
            f"{taken}: text or numbers of words, and not clips of RGB video; it cannot be used here"
        )
    if sizes and (found := _no_clip(sizes)) is not None:
        raise SpecError(f"{taken}: {found}")


def _no_clip(sizes: Sizes) -> str | None:
    """Return what an input is in place of a clip, and what to do; None for a clip."""
    if len(sizes) == 4:
        return _pictures(sizes)
    if len(sizes) not in (5, 6):
        return "sound or another row of numbers, and not clips of RGB video; it cannot be used here"
    axes = sizes[-4:]
    places = {"CTHW": 0, "TCHW": 1, "THWC": 3}
    fits = [layout for layout, place in places.items() if axes[place] in (3, None)]
    if not fits:
        return (
            "no axis has the 3 colours of RGB video, as clips have them (N, 3, T, H, W); give a "
            "network that was trained on RGB"
        )
    for layout in fits:
        sides = [axes[layout.index(axis)] for axis in "HW"]
        if all(side is None or side >= _LEAST_SIDE for side in sides):
            return None
    return (
        "too small for pictures, such as skeletons of joints, and not clips of RGB video; it "
        "cannot be used here"
    )


def _pictures(sizes: Sizes) -> str:
    """Return what an input of four axes is, and what to do."""
    count, channels = sizes[0], sizes[1]
    if 3 in (channels, sizes[3]) and count == 1:
        return "one image, and not a clip of several frames; give a network of clips"
    if 3 in (channels, sizes[3]):
        frames = "T" if count is None else str(count)
        which = "images" if count is None else f"{count} images in one call"
        return (
            f"{which}, and not a clip; if these are the frames of one clip, {_MODULE} takes "
            f"(1, 3, {frames}, H, W), puts the frames there itself and answers (1, classes), else "
            "give a network of clips"
        )
    if channels is not None and channels > 3 and channels % 3 == 0:
        frames = str(channels // 3)
        return (
            f"{channels} channels; if these are the colours of {frames} frames, {_MODULE} takes "
            f"(1, 3, {frames}, H, W) and stacks them itself, else give a network of RGB clips"
        )
    return "sound or other maps, and not clips of RGB video; it cannot be used here"


@malformed_is_error()
def _require_same_answers(model: onnx.ModelProto) -> None:
    found = [node for node in model.graph.node if node.op_type in _RANDOM]
    if found:
        names = some_of([each.name or each.output[0] for each in found], 2)
        raise ModelError(
            f"the model draws random numbers in each call ({found[0].op_type}: {names}), so it "
            "never answers the same twice; export it without them, as noise and dropped paths "
            "belong to training alone"
        )


def _require_known_operators(model: onnx.ModelProto) -> None:
    problems = [
        each
        for each in check_ops(model, "onnx")
        if "." in each.operator or not (onnx.defs.has(each.operator) or each.operator in _PARTS)
    ]
    if problems:
        first = problems[0]
        raise ModelError(
            f"the model has operators that are not ONNX's own ({first.operator}: "
            f"{some_of([each.node for each in problems], 2)}); export it from its framework with "
            "ONNX's own operators alone"
        )


@malformed_is_error()
def _require_numbers(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type in _FLOATS:
            wrong = int(np.isnan(numpy_helper.to_array(tensor)).sum())
            if wrong:
                raise ModelError(
                    f"the model's weight {tensor.name} has {wrong} numbers that are NaN, as after "
                    "a training that diverged; export an earlier checkpoint of that training"
                )


@malformed_is_error()
def _require_scores(model: onnx.ModelProto) -> None:
    outputs = [value.name for value in model.graph.output]
    found = [chosen_classes(model, name) for name in outputs]
    if outputs and all(found):
        raise SpecError(
            f"the model ends in {found[0]} ({', '.join(outputs)}), which gives the best classes "
            f"and not a score for each class; export the network without its {found[0]}"
        )
    value = network_output(model)
    sizes, taken = axis_sizes(value), axis_sizes(network_input(model))
    sides = [size for size in sizes[3:] if size not in (None, 1)]
    if len(sides) > 1 and _sides(taken) and min(sides) * 4 >= min(_sides(taken)):
        text = ", ".join("?" if size is None else str(size) for size in sizes)
        raise SpecError(
            f"the model's {value.name} is ({text}), a map of each picture as of a segmentation, "
            "and not scores of classes; give a network that classifies clips"
        )


def _sides(sizes: Sizes) -> list[int]:
    """Return the two longest axes of an input, its height and width."""
    return sorted(size for size in sizes[1:] if size is not None)[-2:]
