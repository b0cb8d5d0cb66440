"""QuantizeLinear and DequantizeLinear (Q/DQ) in a float model, as each runtime wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from r2p_edge._optional import missing
from r2p_edge._telemetry import no_telemetry
from r2p_edge.calibration.histograms import Range
from r2p_edge.calibration.placement import Placement
from r2p_edge.export.graph.model import without_weights

try:
    import onnx
    from onnx import shape_inference
except ImportError as error:
    raise missing("onnx") from error


class Profile(NamedTuple):
    """A family of runtimes' form of int8.

    Attributes:
        activations: their type.
        symmetric: True for zero points that are 0.
        seven_bits: True if weights use half of their range, so that two products of them with
            uint8 fit into the 16 bits in which CPUs without VNNI add them up.
        pairs: True if weights stay float, with a pair of Q and DQ, and biases stay float; False
            if both are stored as integers.
        stem, both_summands: see `place`.
    """

    activations: Literal["uint8", "int8"]
    symmetric: bool = False
    seven_bits: bool = False
    pairs: bool = False
    stem: bool = True
    both_summands: bool = True


PROFILES: Mapping[str, Profile] = {
    # ONNX Runtime and OpenVINO on x86. ONNX Runtime adds in int8 only if both summands are int8.
    "cpu": Profile("uint8"),
    "cpu-avx2": Profile("uint8", seven_bits=True),
    "arm": Profile("int8"),
    "tensorrt": Profile("int8", symmetric=True, pairs=True, stem=False, both_summands=False),
}
"""The profiles by name."""


def qdq_from_float(
    model: onnx.ModelProto, placement: Placement, ranges: Mapping[str, Range], profile: Profile
) -> onnx.ModelProto:
    """Insert Q/DQ pairs at the placement's weights and activations.

    Args:
        model: float32, with named nodes; it is left unchanged.
        placement: the layers and activations that become int8.
        ranges: of the activations, by name.
        profile: the form of int8.

    Returns:
        A new model.
    """
    with no_telemetry():
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import TensorData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
        from onnxruntime.quantization.quant_utils import add_infer_metadata

    # The quantizer would infer shapes through files in the temporary folder.
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
    """Give float layers their float input back, and undo all else but the Q/DQ nodes."""
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
