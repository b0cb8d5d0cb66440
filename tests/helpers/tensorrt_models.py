"""ONNX artifacts for TensorRT, and engines that this package has not built."""

from __future__ import annotations

import functools
import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import SMALL, random_parameters, spec_for
from onnx import helper

from r2p_edge.artifact.onnx_metadata import METADATA_KEY
from r2p_edge.export.build import build
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import ModelSpec

SPEC = spec_for(SMALL["classes"], name="net")


def small(path: Path, precision: str = "fp32") -> Path:
    """Write a small R(2+1)D as an ONNX artifact of opset 17, in fp32 or int8."""
    path.write_bytes(_small(precision))
    return path


@functools.cache
def _small(precision: str) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if precision == "int8":
            return _quantised(small(folder / "net.onnx"), folder / "int8.onnx")
        from safetensors.numpy import save_file

        save_file(random_parameters(**SMALL), folder / "net.safetensors")
        (made,) = build(folder / "net.safetensors", spec=SPEC, targets=["onnx"], out=folder).built
        return made.path.read_bytes()


def needs_rounding(version: str, precision: str) -> None:
    """Skip the running test if the stand-in would compute an int8 engine wrongly.

    On 11 its scales are float16, and ONNX Runtimes up to 1.23 at least cut fractions off in
    QuantizeLinear then (microsoft/onnxruntime#22741).
    """
    if (version, precision) == ("11.4", "int8") and not _rounds_in_float16():
        pytest.skip("this ONNX Runtime does not round in float16's QuantizeLinear")


@functools.cache
def _rounds_in_float16() -> bool:
    node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
    weights = {"scale": np.float16(1), "zero": np.int8(0)}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, [1])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT8, [1])],
        [onnx.numpy_helper.from_array(np.array(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    session = open_session(model.SerializeToString())
    (found,) = session.run(None, {"x": np.array([0.75], np.float16)})
    return found.item() == 1


def quantise(source: Path, path: Path, spec: ModelSpec) -> None:
    """Write a model with int8 convolutions as TensorRT wants them: symmetric, with zero points."""
    from onnxruntime import quantization

    clips = iter([{"frames": clip[None]} for clip in verification_clips(spec)])

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            return next(clips, None)

    quantization.quantize_static(
        source,
        path,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=["Conv"],
        extra_options={
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
        },
    )


def _quantised(source: Path, path: Path) -> bytes:
    quantise(source, path, SPEC)
    model = onnx.load(path)
    carried = {each.key: each.value for each in onnx.load(source).metadata_props}
    spec = ModelSpec.from_json(carried[METADATA_KEY]).replace(precision="int8", parity=None)
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    return model.SerializeToString()


def clips_of(count: int, seed: int = 0) -> np.ndarray:
    """Return uint8 (count, 1, T, H, W, 3), each the whole input of a small model."""
    shape = (count, *SPEC.input_shape)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def foreign_engine(
    path: Path,
    model: Path,
    *,
    flags: Sequence[str] = (),
    profile: Any = None,
    library: str = "tensorrt",
) -> Path:
    """Build an engine with a library alone.

    Args:
        profile: {input: (min, opt, max)}, the shapes of open axes.
    """
    trt = importlib.import_module(library)
    logger = trt.Logger()
    builder = trt.Builder(logger)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse_from_file(str(model)), parser.get_error(0).desc()
    config = builder.create_builder_config()
    for name in flags:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if profile is not None:
        made = builder.create_optimization_profile()
        for name, shapes in profile.items():
            made.set_shape(name, *shapes)
        config.add_optimization_profile(made)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    path.write_bytes(plan)
    return path
