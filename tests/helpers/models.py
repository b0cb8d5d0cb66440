"""Tiny ONNX models whose answers show their input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec

FRAMES, SIZE = 4, 8


def spec_of_brightness(**changes: Any) -> ModelSpec:
    """Return the contract of `brightness_model`: 4 frames of 8x8, every second one at 25 fps."""
    spec = ModelSpec(
        name="brightness",
        labels=tuple(f"frame {number}" for number in range(FRAMES)),
        clip=ClipSpec(frames=FRAMES, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=SIZE, width=SIZE),
        crop=CropSpec(height=SIZE, width=SIZE),
        scale=1 / 255,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )
    return spec.replace(**changes)


def brightness_model(
    path: Path,
    spec: ModelSpec | None = None,
    *,
    channel: int | None = None,
    outputs: int = FRAMES,
    batch: int | str = 1,
    factor: float = 1.0,
    embed: bool = True,
) -> Path:
    """Write a model whose logit t is the mean level (0 to 255, times `factor`) of frame t.

    Args:
        channel: look at one channel of the model's input only.
        outputs: number of logits; more than the frames are zero.
        batch: the batch axis; a name leaves it open.
        embed: put the spec into the metadata.
    """
    spec = spec or spec_of_brightness()
    layout = spec.input.layout
    shape = [batch, *spec.input_shape[1:]]
    kind = TensorProto.UINT8 if spec.input.dtype == "uint8" else TensorProto.FLOAT
    axes = [i for i, axis in enumerate(layout) if axis not in "NT"]
    weights = np.zeros((FRAMES, outputs), np.float32)
    np.fill_diagonal(weights, factor)
    initializers = [
        numpy_helper.from_array(np.array(axes, np.int64), "axes"),
        numpy_helper.from_array(weights, "weights"),
    ]
    nodes = [helper.make_node("Cast", [spec.input.name], ["float"], to=TensorProto.FLOAT)]
    source = "float"
    if channel is not None:
        initializers.append(numpy_helper.from_array(np.array([channel], np.int64), "channel"))
        nodes.append(
            helper.make_node("Gather", ["float", "channel"], ["one"], axis=layout.index("C"))
        )
        source = "one"
    # Opset 17's ReduceMean takes its axes as an attribute, 18's as an input.
    nodes += [
        helper.make_node("ReduceMean", [source, "axes"], ["levels"], keepdims=0),
        helper.make_node("MatMul", ["levels", "weights"], [spec.output.name]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info(spec.input.name, kind, shape)],
        [helper.make_tensor_value_info(spec.output.name, TensorProto.FLOAT, [batch, outputs])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    if embed:
        helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


def levels(prediction: Any) -> list[int]:
    """Return the level of each frame that a `brightness_model` saw, up to the softmax's shift."""
    logits = np.log(np.maximum(prediction.scores.astype(np.float64), 1e-300))
    return [round(float(value)) for value in logits - logits.min()]


def grey_frames(values: Any, height: int = 10, width: int = 12) -> np.ndarray:
    """Return uint8 (n, height, width, 3) whose frame k is all `values[k]`."""
    column = np.asarray(list(values), np.uint8)[:, None, None, None]
    return np.broadcast_to(column, (len(column), height, width, 3)).copy()
