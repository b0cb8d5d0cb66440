"""A float32 ONNX artifact becomes an int8 one: QuantizeLinear and DequantizeLinear in its graph."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.artifact.files import atomic_write, check_folder, write_sidecar
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.placement import Placement, name_nodes, place
from r2p_edge.calibration.qdq_rules import require_rules
from r2p_edge.calibration.ranges import PASSES, Clips, Method, Range, observe
from r2p_edge.calibration.sensitivity import choose_float_layers
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.adapt import load
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.graph.operators import without_weights
from r2p_edge.export.packages import built_with
from r2p_edge.export.verify.parity import proof_of_onnx, verify_onnx
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec.model_spec import ModelSpec

try:
    import onnx
    from onnx import shape_inference
except ImportError as error:
    raise missing("onnx", "export") from error

COSINE = 0.99
"""Between the logits of float and int8; where they are less alike, layers stay float."""

_SAMPLE = 8  # clips that this is seen on
_INTEGER = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger"}


class Profile(NamedTuple):
    """How a family of runtimes wants int8 written.

    Attributes:
        activations: their type.
        symmetric: zero is zero.
        seven_bits: weights use half of their range, so that two products of them with uint8 fit
            into the 16 bits in which CPUs without VNNI add them up.
        pairs: weights stay float, with a pair of Q and DQ, and biases stay float; else both are
            stored as integers.
        stem, both_summands: see `place`.
    """

    activations: Literal["uint8", "int8"]
    symmetric: bool = False
    seven_bits: bool = False
    pairs: bool = False
    stem: bool = True
    both_summands: bool = True


PROFILES: Mapping[str, Profile] = {
    # ONNX Runtime and OpenVINO on x86. ONNX Runtime adds in int8 only where both summands are.
    "cpu": Profile("uint8"),
    "cpu-avx2": Profile("uint8", seven_bits=True),
    "arm": Profile("int8"),
    "tensorrt": Profile("int8", symmetric=True, pairs=True, stem=False, both_summands=False),
}


def quantize_onnx(
    source: str | Path,
    path: str | Path,
    clips: Clips,
    *,
    method: Method = "minmax",
    profile: str = "cpu",
    keep_float: Sequence[str] = (),
    cosine: float = COSINE,
    budget: float = 300.0,
    record: Callable[[], Mapping[str, Any]] = dict,
    progress: Callable[[], None] = lambda: None,
) -> ModelSpec:
    """Writes a float32 ONNX artifact as an int8 one, calibrated on clips.

    The same clips and versions give the same bytes, unless `budget` runs out.

    Args:
        source: an ONNX file with a spec, as `onnx_from_checkpoint` and its like write it.
        path: the .onnx file to write.
        clips: what the model will see, as its spec says.
        method: how ranges follow from activations, see `observe`.
        profile: of `PROFILES`.
        keep_float: names of convolutions that stay float.
        cosine: of the logits with those of `source`, for the worst of the first clips. Where int8
            does not reach it, the layers that spoil most stay float too.
        budget: seconds that finding these may take.
        record: gives what the spec shall say of the clips, once all were read.
        progress: is called after each clip of each pass, see `PASSES`.

    Returns:
        The spec as it is in the file. Its parity is that with `source`, over generated clips.

    Raises:
        UsageError: there is no such method, profile or layer.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`; or
            is quantised already, is not float32, has batch norm, or computes NaN.
        VideoError: there are no clips, or one is not what the spec describes.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    for what, value, known in (("method", method, PASSES), ("profile", profile, PROFILES)):
        if value not in known:
            raise UsageError(f"{what} is {value!r}; there is {', '.join(known)}")
    source = Path(source)
    if source.suffix.lower() != ".onnx":
        raise ModelError(f"{source} is no ONNX file; int8 is made from the .onnx of an fp32 export")
    check_folder(path)
    original = open_artifact(source).spec
    model = load(source)
    check_float(model, original)
    name_nodes(model)
    rendering = PROFILES[profile]

    def placed(layers: Collection[str]) -> Placement:
        return place(
            model,
            stem=rendering.stem,
            both_summands=rendering.both_summands,
            keep_float={*keep_float, *layers},
        )

    placement = placed(())
    observed = observe(model, original, placement.tensors, clips, method=method, progress=progress)

    def quantised(layers: Collection[str]) -> onnx.ModelProto:
        return qdq_from_float(model, placed(layers), observed.ranges, rendering)

    sample = list(itertools.islice(clips(), _SAMPLE))
    chosen = choose_float_layers(
        model, original, placement, quantised, sample, cosine=cosine, budget=budget
    )
    result = quantised(chosen.float_layers)
    if profile == "tensorrt":
        require_rules(result)
    calibration = {
        **record(),
        "method": method,
        "profile": profile,
        "clips": observed.clips,
        "float_layers": sorted({*keep_float, *chosen.float_layers}),
        "cosine": round(chosen.cosine, 6),
        "ranges_sha256": _digest(observed.ranges),
    }
    spec = original.replace(
        precision="int8",
        calibration=calibration,
        parity=None,
        accuracy=None,
        target=None,
        built_with=built_with("onnx", "onnxruntime"),
    )
    logits = proof_of_onnx(source).outputs
    found = verify_onnx(
        result.SerializeToString(), spec, verification_clips(spec), logits, reference="onnx"
    )
    spec = spec.replace(parity={**found, "onnx": original.parity})
    embed_spec(result, spec)
    atomic_write(path, result.SerializeToString(deterministic=True))
    write_sidecar(path, spec)
    return spec


def check_float(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Makes sure that a model can be quantised.

    Raises:
        ModelError: it is quantised already, is not float32, or has batch norm.
    """
    integers = [n for n in model.graph.node if n.op_type in _INTEGER or "QLinear" in n.op_type]
    if integers or spec.precision == "int8":
        where = f" ({integers[0].op_type} {integers[0].name})" if integers else ""
        raise ModelError(
            f"the model is quantised already{where}; give the float model it was made from"
        )
    if spec.precision != "fp32":
        raise ModelError(
            f"the model is {spec.precision}, but int8 is made from fp32; export it in that"
        )
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    if norms:
        raise ModelError(
            f"the model has {len(norms)} batch norms that are not folded into its convolutions "
            f"(the first is {norms[0].name or norms[0].output[0]}), whose weights are then not "
            "what it computes with; export it in evaluation mode, or from its checkpoint"
        )


def qdq_from_float(
    model: onnx.ModelProto, placement: Placement, ranges: Mapping[str, Range], profile: Profile
) -> onnx.ModelProto:
    """A float32 model with Q/DQ pairs at the placement's weights and activations."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import TensorData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    # It would infer the shapes itself, through files in the temporary folder.
    shapes = shape_inference.infer_shapes(without_weights(model)).graph.value_info
    draft = onnx.ModelProto()
    draft.CopyFrom(model)
    del draft.graph.value_info[:]
    draft.graph.value_info.extend(shapes)
    add_infer_metadata(draft)
    quantizer = QDQQuantizer(
        draft,
        per_channel=True,
        reduce_range=profile.seven_bits,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if profile.activations == "uint8" else QuantType.QInt8,
        tensors_range={
            name: TensorData(lowest=np.float32(low), highest=np.float32(high))
            for name, (low, high) in ranges.items()
        },
        nodes_to_quantize=list(placement.layers),
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv"],
        extra_options={
            "ActivationSymmetric": profile.symmetric,
            "AddQDQPairToWeight": profile.pairs,
            "QuantizeBias": not profile.pairs,
            "OpTypesToExcludeOutputQuantization": ["Conv"],
        },
    )
    for name in placement.summands:
        quantizer.quantize_activation_tensor(name)
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return _tidied(quantizer.model.model, model, placement)


def _tidied(
    quantised: onnx.ModelProto, model: onnx.ModelProto, placement: Placement
) -> onnx.ModelProto:
    """The quantizer's result without what it added beyond Q/DQ, float layers with float input."""
    makers = {name: node for node in quantised.graph.node for name in node.output}
    for node in quantised.graph.node:
        if node.op_type == "Conv" and node.name not in placement.layers:
            undo = makers.get(node.input[0])
            if undo is not None and undo.op_type == "DequantizeLinear":
                node.input[0] = makers[undo.input[0]].input[0]
    del quantised.graph.value_info[:], quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    quantised.producer_name = model.producer_name
    quantised.producer_version = model.producer_version
    # A message keeps the memory of what was deleted from it, here of the float weights.
    result = onnx.ModelProto()
    result.CopyFrom(quantised)
    return result


def _digest(ranges: Mapping[str, Range]) -> str:
    return hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()
