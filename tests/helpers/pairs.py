"""Pairs of models that answer together, and clips of which each stream knows one half.

The clips of four classes: a red or a blue disc that moves in any direction, and grey spots that
move to the left or to the right. Discs differ by colour alone, spots by motion alone.

The stream of colours averages random filters over single frames, so it sees no motion; that of
flow averages random filters over flow, so it sees no colour. Their heads are least squares on clips
of other seeds.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from flows import PIXELS, spec_of_flow, texture, write_frames
from models import brightness_model, spec_of_brightness
from onnx import TensorProto, helper, numpy_helper

from r2p_edge import Predictor
from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.spec import FlowSpec, ModelSpec, OutputSpec

CLASSES = ("red disc", "blue disc", "spots left", "spots right")
FRAMES, FILTERS = 8, 12
FACTOR, RIDGE = 8.0, 2.0  # of the logits, and of least squares
R2PLUS1D = {"of": "probabilities", "rgb": 0.6, "flow": 0.4}


def spec_of_colours(flow: ModelSpec | None = None, **changes: Any) -> ModelSpec:
    """Return the contract of colours that goes with `spec_of_flow`, or with another of flow."""
    flow = flow or spec_of_flow()
    spec = spec_of_brightness(
        clip=flow.clip, resize=flow.resize, crop=flow.crop, labels=flow.labels
    )
    return spec.replace(**changes)


def two_models(folder: Path, flow: FlowSpec | None = None, **changes: Any) -> list[Path]:
    """Write a model of colours and one of flow, 4 frames of 48x48 pixels; return their paths.

    Args:
        changes: of both contracts.
    """
    of_flow = spec_of_flow(flow).replace(**changes)
    rgb, factor = folder / "rgb.onnx", 0.01
    return [
        brightness_model(rgb, spec_of_colours(of_flow, **changes), factor=factor),
        brightness_model(folder / "flow.onnx", of_flow),
    ]


def pair_file(path: Path, colours: object, of_flow: object, /, **fusion: Any) -> Path:
    """Write the JSON file of two models, by default with the fusion of R(2+1)D."""
    data = {"format": 1, "rgb": str(colours), "flow": str(of_flow), "fusion": fusion or R2PLUS1D}
    path.write_text(json.dumps(data))
    return path


def scene(label: str, seed: int) -> np.ndarray:
    """Draw a clip of a class, uint8 (9, 60, 80, 3)."""
    rng = np.random.default_rng([CLASSES.index(label), seed])
    frames = np.repeat(_spots(rng, label)[..., None], 3, axis=-1)
    if "disc" in label:
        angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5)
        centre, radius = rng.uniform((30, 22), (50, 38)), int(rng.integers(12, 19))
        light = float(rng.uniform(0.6, 1))
        colour = (220, 60, 60) if label == "red disc" else (60, 60, 220)
        for number, frame in enumerate(frames):
            step = speed * (number - FRAMES / 2)
            place = centre + step * np.array([np.cos(angle), np.sin(angle)])
            cv2.circle(frame, tuple(map(round, place)), radius, [light * x for x in colour], -1)
    noisy = frames + rng.normal(0, 6, frames.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _spots(rng: np.random.Generator, label: str) -> np.ndarray:
    """Draw grey spots that rest, or move to one side, (9, 60, 80)."""
    speed = {"spots left": 1, "spots right": -1}.get(label, 0) * rng.integers(1, 4)
    drawn = texture(int(rng.integers(1 << 30)), width=160)
    starts = 40 + speed * np.arange(FRAMES + 1)
    return np.stack([drawn[:, start : start + 80] for start in starts]) // 2 + 60


def write_scenes(folder: Path, seeds: range) -> Path:
    """Write the clips of all classes as files, in a folder for each class."""
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
        for seed in seeds:
            write_frames(folder / label / f"{seed}.mkv", scene(label, seed))
    return folder


def taught_models(folder: Path, seeds: range) -> list[Path]:
    """Write the two streams, taught on clips of these seeds; return their paths."""
    clips = [(scene(label, seed), label) for label in CLASSES for seed in seeds]
    flow = spec_of_flow().replace(labels=CLASSES)
    flow = flow.replace(clip=dataclasses.replace(flow.clip, frames=FRAMES))
    input = dataclasses.replace(PIXELS, modality="rgb")
    rgb = spec_of_colours(flow, input=input, mean=(0.5,) * 3, std=(0.25,) * 3)
    return [_taught(folder / f"{name}.onnx", spec, clips) for name, spec in
            (("rgb", rgb), ("flow", flow))]  # fmt: skip


def _taught(path: Path, spec: ModelSpec, clips: list[tuple[np.ndarray, str]]) -> Path:
    names = tuple(f"filter {number}" for number in range(FILTERS))
    bare = spec.replace(labels=names, output=OutputSpec(kind="values"))
    write_network(path, bare, np.eye(FILTERS, dtype=np.float32), np.zeros(FILTERS, np.float32))
    with Predictor(path) as predictor:
        features = np.stack([predictor.outputs(clip, fps=25)[0] for clip, _ in clips])
    centre, spread = features.mean(axis=0), features.std(axis=0)
    known = (features - centre) / spread
    wanted = FACTOR * np.array([[label == each for each in CLASSES] for _, label in clips])
    square = known.T @ known + RIDGE * np.eye(FILTERS)
    weights = np.linalg.solve(square, known.T @ (wanted - wanted.mean(axis=0))) / spread[:, None]
    return write_network(path, spec, weights, wanted.mean(axis=0) - centre @ weights)


def write_network(path: Path, spec: ModelSpec, weights: np.ndarray, bias: np.ndarray) -> Path:
    """Write a network: random filters of 5x5 pixels of a frame, ReLU, their mean, and a head."""
    filters = np.random.default_rng(0).normal(size=(FILTERS, spec.channels, 1, 5, 5)) / 5
    tensors = {"filters": filters, "weights": weights, "bias": bias}
    nodes = [
        helper.make_node("Conv", ["frames", "filters"], ["maps"], pads=[0, 2, 2, 0, 2, 2]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stream",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, spec.input_shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(spec.labels)])],
        [numpy_helper.from_array(each.astype(np.float32), name) for name, each in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path
