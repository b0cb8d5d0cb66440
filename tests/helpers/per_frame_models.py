"""A tiny network in both forms, whole clips and per frame, and what it answers in NumPy.

All of its numbers are whole and small, so that every runtime computes the same ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.spec import (
    ClipSpec,
    CropSpec,
    ModelSpec,
    OutputSpec,
    PartSpec,
    PerFrameSpec,
    ResizeSpec,
    RingSpec,
)

FRAMES, SIZE, CLASSES = 8, 8, 4
TICK = 0.08
WAIT = 1

# The stem is centred on its frame; each temporal convolution looks one tick ahead.
_RINGS = {"stem": (4.0, 0), "middle": (32.0, 1), "feature": (256.0, 2)}  # scale, delay
_ZERO = 3  # of the quantised tensors
_KINDS = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}


class Weights(NamedTuple):
    """Weights of the network: a 1x1 convolution, two temporal ones, and the classes.

    Attributes:
        stem: (2, 3), with its bias (2,).
        first, second: (2, 3, 2) for channels, taps and channels, with their biases; the second
            takes every second tick.
        classes: (8, classes), of the largest value of each channel at each position.
    """

    stem: np.ndarray
    stem_bias: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    classes: np.ndarray


def _weights() -> Weights:
    numbers = np.random.default_rng(21)

    def whole(low, high, *shape):
        return numbers.integers(low, high, shape).astype(np.float32)

    return Weights(
        whole(0, 2, 2, 3) + np.eye(2, 3, dtype=np.float32),
        whole(3, 7, 2),
        whole(-1, 3, 2, 3, 2),
        whole(20, 40, 2),
        whole(-1, 3, 2, 3, 2),
        whole(100, 200, 2),
        whole(-2, 3, 8, CLASSES),
    )


WEIGHTS = _weights()


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Return frames as the network takes them, uint8 (count, H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def outputs(frames: Any, end: int, *, wait: int = 0, first: int = 0, quantised: bool = False):
    """Return the outputs, (classes,), on the window of frames that ends with number `end`.

    Args:
        frames: uint8 (n, H, W, 3), all frames.
        end: number of the window's last frame.
        wait: frames after it that are looked at.
        first: number of the first frame that is looked at.
        quantised: round the tensors as the quantised network does.
    """
    seen = np.asarray(frames[first : end + wait + 1], np.float32)

    def kept(name, values):
        scale, _ = _RINGS[name]
        if not quantised:
            return values
        return (np.clip(np.rint(values / scale) + _ZERO, 0, 255) - _ZERO) * np.float32(scale)

    def temporal(values, weights, bias):
        padded = np.pad(values, ((1, 1), (0, 0), (0, 0), (0, 0)))
        taps = np.stack([padded[:-2], padded[1:-1], padded[2:]], axis=2)
        found = np.einsum("ntihw,oti->nohw", np.swapaxes(taps, 1, 2), weights)
        return np.maximum(found + bias[:, None, None], 0)

    stem = np.einsum("nhwc,oc->nohw", seen, WEIGHTS.stem) + WEIGHTS.stem_bias[:, None, None]
    stem = kept("stem", np.maximum(stem, 0))
    middle = kept("middle", temporal(stem, WEIGHTS.first, WEIGHTS.first_bias))
    feature = kept("feature", temporal(middle, WEIGHTS.second, WEIGHTS.second_bias))
    start = end - FRAMES + 1 - first
    positions = feature[start : start + FRAMES : 2].max(axis=(2, 3))
    return positions.reshape(-1) @ WEIGHTS.classes


def causal_outputs(frames: Any, tick: int, *, first: int = 0):
    """Return the outputs, (classes,), of the network of `write_semi_causal_model` at a tick."""
    seen = np.asarray(frames[first : tick + 1], np.float32)
    stem = np.einsum("nhwc,oc->nohw", seen, WEIGHTS.stem) + WEIGHTS.stem_bias[:, None, None]
    taps = np.pad(stem, ((2, 0), (0, 0), (0, 0), (0, 0)))[-3:]
    middle = np.einsum("tihw,oti->ohw", taps, WEIGHTS.first) + WEIGHTS.first_bias[:, None, None]
    return np.maximum(middle, 0).max(axis=(1, 2)) @ WEIGHTS.classes[:2]


def write_semi_causal_model(folder: Path, *, wait: int = 0, kind: Any = "values") -> Path:
    """Write the clip graph beside a part that answers at each frame; return the former's path.

    The two do not give the same answers, so that a test can tell them apart.
    """
    step = _Graph(False, SIZE).part("step").save(folder / "tiny-fp32-step.onnx")
    form = PerFrameSpec(
        form="semi-causal",
        stages=0,
        delay=0,
        wait=wait,
        step=1,
        positions=1,
        feature=None,
        rings=(RingSpec("stem", (2, SIZE, SIZE), "float32", 0, None, 0, {"step": (1, 2)}),),
        missing=(),
        parts={"step": PartSpec(step.name, hashlib.sha256(step.read_bytes()).hexdigest())},
    )
    spec = tiny_spec(per_frame=form, output=OutputSpec(kind=kind))
    model = _Graph(False, SIZE).clip()
    helper.set_model_props(model.made(), {METADATA_KEY: spec.to_json()})
    return model.save(folder / "tiny-fp32.onnx")


def write_per_frame_model(
    folder: Path, *, quantised: bool = False, kind: Any = "values", size: int = SIZE
) -> Path:
    """Write the network's clip graph with its parts; return the path of the former.

    Args:
        kind: meaning of the outputs.
        size: height and width of the frames.
    """
    precision = "int8" if quantised else "fp32"
    graphs = {
        part: _Graph(quantised, size).part(part).save(folder / f"tiny-{precision}-{part}.onnx")
        for part in ("head", "tail", "flush")
    }
    dtype = "uint8" if quantised else "float32"
    reads = {
        "stem": {"head": (1, 2), "flush": (0, 1)},
        "middle": {"head": (1, 2), "flush": (0, 1)},
        "feature": {"tail": (6, 4, 2, 0)},
    }
    form = PerFrameSpec(
        form="per-frame",
        stages=1,
        delay=2,
        wait=WAIT,
        step=2,
        positions=4,
        feature="feature",
        rings=tuple(
            RingSpec(
                ring,
                (2, size, size),
                dtype,
                _ZERO if quantised else 0,
                scale if quantised else None,
                delay,
                reads[ring],
            )
            for ring, (scale, delay) in _RINGS.items()
        ),
        missing=(3,),
        parts={
            part: PartSpec(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
            for part, path in graphs.items()
        },
    )
    spec = tiny_spec(size, precision=precision, per_frame=form, output=OutputSpec(kind=kind))
    model = _Graph(quantised, size).clip()
    helper.set_model_props(model.made(), {METADATA_KEY: spec.to_json()})
    return model.save(folder / f"tiny-{precision}.onnx")


def tiny_spec(size: int = SIZE, **changes: Any) -> ModelSpec:
    """Return the contract of the network: 8 frames, every second one at 25 fps."""
    spec = ModelSpec(
        name="tiny",
        labels=tuple(f"class {number}" for number in range(CLASSES)),
        clip=ClipSpec(frames=FRAMES, interval=2, fps=25.0),
        resize=ResizeSpec(mode="stretch", height=size, width=size),
        crop=CropSpec(height=size, width=size),
        scale=1.0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        graph="conv3d",
    )
    return spec.replace(**changes)


class _Graph:
    """An ONNX graph under construction."""

    def __init__(self, quantised: bool, size: int) -> None:
        self._quantised, self._size = quantised, size
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._model: Any = None

    def part(self, part: str) -> _Graph:
        if part in ("head", "step"):
            self._input("frame", TensorProto.UINT8, [1, self._size, self._size, 3])
            self._add("Cast", ["frame"], "float", to=TensorProto.FLOAT)
            self._add("Transpose", ["float"], "planes", perm=[0, 3, 1, 2])
            self._stem("planes", (1, 1))
            self._temporal(["stem.ago2", "stem.ago1", "stem"], "middle", "first")
        if part == "step":
            self._add("ReduceMax", ["middle"], "flat", axes=[2, 3], keepdims=0)
            classes = self._constant("classes", WEIGHTS.classes[:2])
            self._add("MatMul", ["flat", classes], "logits")
            self._output("stem")
            logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])
            self._outputs.append(logits)
        elif part == "head":
            self._temporal(["middle.ago2", "middle.ago1", "middle"], "feature", "second")
            for ring in _RINGS:
                self._output(ring)
        elif part == "flush":
            # After the window's last frame there is nothing: its convolutions have two taps.
            self._temporal(["stem.ago1", "stem.ago0", None], "middle.last", "first", "middle")
            taps = ["middle.ago1", "middle.ago0", "middle.last"]
            self._temporal(taps, "feature.p3", "second", "feature")
            self._output("feature.p3")
        else:
            names = [self._read(f"feature.p{i}", "feature", batch="N") for i in range(4)]
            axes = self._constant("axes", np.array([2], np.int64))
            lone = [self._add("Unsqueeze", [name, axes], f"{name}.5d") for name in names]
            self._add("Concat", lone, "features", axis=2)
            self._classes("features")
        return self

    def clip(self) -> _Graph:
        self._input("frames", TensorProto.UINT8, [1, FRAMES, self._size, self._size, 3])
        self._add("Cast", ["frames"], "float", to=TensorProto.FLOAT)
        self._add("Transpose", ["float"], "planes", perm=[0, 4, 1, 2, 3])
        source = self._stem("planes", (1, 1, 1))
        for name, weights, stride in (("middle", "first", 1), ("feature", "second", 2)):
            kernel = np.moveaxis(getattr(WEIGHTS, weights), 1, 2)[..., None, None]
            inputs = [source, *self._weights(weights, kernel)]
            moves = {"pads": [1, 0, 0, 1, 0, 0], "strides": [stride, 1, 1]}
            self._add("Conv", inputs, f"{name}.sum", **moves)
            self._add("Relu", [f"{name}.sum"], f"{name}.float")
            source = self._kept(name, name)
        self._classes(source)
        return self

    def _stem(self, source: str, kernel: tuple[int, ...]) -> str:
        weights = WEIGHTS.stem.reshape(2, 3, *kernel)
        self._add("Conv", [source, *self._weights("stem", weights)], "stem.sum")
        self._add("Relu", ["stem.sum"], "stem.float")
        return self._kept("stem", "stem")

    def _temporal(self, taps: list[Any], name: str, weights: str, ring: str | None = None) -> None:
        ring = ring or name
        source = "stem" if weights == "first" else "middle"
        present = [place for place, tap in enumerate(taps) if tap is not None]
        names = [self._read(taps[place], source) for place in present]
        self._add("Concat", names, f"{name}.taps", axis=1)
        kernel = getattr(WEIGHTS, weights)[:, present].reshape(2, -1, 1, 1)
        self._add("Conv", [f"{name}.taps", *self._weights(weights, kernel)], f"{name}.sum")
        self._add("Relu", [f"{name}.sum"], f"{name}.float")
        self._kept(name, ring)

    def _kept(self, name: str, ring: str) -> str:
        """Name a tensor as the ring keeps it; return its name in floats."""
        if not self._quantised:
            self._add("Identity", [f"{name}.float"], name)
            return name
        self._add("QuantizeLinear", [f"{name}.float", *self._scale(ring)], name)
        return self._add("DequantizeLinear", [name, *self._scale(ring)], f"{name}.again")

    def _read(self, name: str, ring: str, batch: Any = 1) -> str:
        """Return the name of a tensor in floats, which is an input if nothing makes it."""
        if not any(name in node.output for node in self._nodes):
            kind = TensorProto.UINT8 if self._quantised else TensorProto.FLOAT
            self._input(name, kind, [batch, 2, self._size, self._size])
            if self._quantised:
                self._add("DequantizeLinear", [name, *self._scale(ring)], f"{name}.again")
        return f"{name}.again" if self._quantised else name

    def _classes(self, source: str) -> None:
        self._add("ReduceMax", [source], "largest", axes=[3, 4], keepdims=0)
        self._add("Transpose", ["largest"], "turned", perm=[0, 2, 1])
        shape = self._constant("shape", np.array([-1, 8], np.int64))
        self._add("Reshape", ["turned", shape], "flat")
        self._add("MatMul", ["flat", self._constant("classes", WEIGHTS.classes)], "logits")
        batch = 1 if source != "features" else "N"
        value = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])
        self._outputs.append(value)

    def _weights(self, name: str, kernel: np.ndarray) -> list[str]:
        bias = getattr(WEIGHTS, f"{name}_bias")
        return [self._constant(f"{name}.w", kernel), self._constant(f"{name}.b", bias)]

    def _scale(self, ring: str) -> list[str]:
        scale, _ = _RINGS[ring]
        return [
            self._constant(f"{ring}.scale", np.array(scale, np.float32)),
            self._constant("zero", np.array(_ZERO, np.uint8)),
        ]

    def _constant(self, name: str, value: np.ndarray) -> str:
        if name not in {each.name for each in self._constants}:
            self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _input(self, name: str, kind: int, shape: list[Any]) -> None:
        self._inputs.append(helper.make_tensor_value_info(name, kind, shape))

    def _output(self, name: str) -> None:
        kind = TensorProto.UINT8 if self._quantised else TensorProto.FLOAT
        self._outputs.append(
            helper.make_tensor_value_info(name, kind, [1, 2, self._size, self._size])
        )

    def made(self) -> Any:
        if self._model is None:
            graph = helper.make_graph(
                self._nodes, "tiny", self._inputs, self._outputs, self._constants
            )
            opset = [helper.make_opsetid("", 17)]
            self._model = helper.make_model(graph, opset_imports=opset, ir_version=8)
            onnx.checker.check_model(self._model, full_check=True)
        return self._model

    def save(self, path: Path) -> Path:
        onnx.save(self.made(), path)
        return path
