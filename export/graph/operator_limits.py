"""The parts of ONNX that each target is known to run, with the source of each limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from r2p_edge._optional import missing

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

AttributeLimits = Mapping[str, "range | tuple[str, ...]"]
"""Allowed values of an operator's attributes, or of each of their elements, by attribute."""


@dataclass(frozen=True)
class OperatorLimits:
    """The limits of a target; by default there are none.

    Attributes:
        title: name of the target in messages.
        opsets: first and last readable opset; None for no last one.
        operators: known to run; None for all of the ONNX standard except `without`.
        without: operators of the ONNX standard that do not run.
        domains: further operator domains that run.
        rank: highest rank of any tensor.
        ranks: highest rank of an operator's input, by operator.
        attributes: limits by (operator, rank of its input). The limits of kernels, strides and
            dilations apply to the last two axes.
        width: largest width of a convolution's or pool's input.
        types: element types of a convolution; empty for all.
        precisions: precisions that a layer can be compiled to, by (operator, rank of its input),
            the rank 0 for any; all for those that are not listed.
        open_axes: number of an input's leading axes that may be open; None for all.
        reserved: characters that the input's name must not contain.
        only_casts_uint8: True if uint8 tensors can only be cast.
        is_lite: True if the rules of `lite_rules.py` hold.
    """

    title: str
    opsets: tuple[int, int | None] = (1, None)
    operators: frozenset[str] | None = None
    without: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    rank: int | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)
    attributes: Mapping[tuple[str, int], AttributeLimits] = field(default_factory=dict)
    width: int | None = None
    types: tuple[int, ...] = ()
    precisions: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    open_axes: int | None = None
    reserved: str = ""
    only_casts_uint8: bool = False
    is_lite: bool = False


_POOLS = ("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool")
WINDOWS = ("Conv", "ConvTranspose", *_POOLS)
_UP_TO_2D, _UP_TO_3D = dict.fromkeys(WINDOWS, 4), dict.fromkeys(WINDOWS, 5)
_NORMS_2D = dict.fromkeys(("BatchNormalization", "InstanceNormalization"), 4)
_F32, _F16, _F64 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE
_NO_DILATION, _NO_SAME_LOWER = range(1, 2), ("NOTSET", "SAME_UPPER", "VALID")

# Operators that occur in video CNNs and are in each of these lists: onnx-tensorrt 8.4,
# docs/operators.md; CANN 8.0 and 8.5, "supported ONNX operators"; OpenHarmony's list of MindSpore
# Lite's CPU operators, with the ONNX parsers that the converter's source registers.
_NAMES = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv ConvTranspose
Div Dropout Elu Equal Erf Exp Expand Flatten Gather Gemm GlobalAveragePool GlobalMaxPool Identity
If InstanceNormalization LeakyRelu Log MatMul Max MaxPool Min Mul Neg PRelu Pad Pow ReduceMax
ReduceMean ReduceMin ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Softplus Split Sqrt Squeeze
Sub Sum Tanh Tile Transpose Unsqueeze Where"""
_CNN = frozenset(_NAMES.split())

# onnx-tensorrt, docs/operators.md: 8.6 reads opsets up to 17, 10.0 from 9 to 20; convolutions and
# pools are 2-D or 3-D; DOUBLE is cast. NvInferRuntime.h: Dims::MAX_DIMS. "ONNX Opset Guide" of
# TensorRT 11: 9 to 25. Uint8 inputs: NVIDIA/TensorRT, issues 2809 and 3985.
_TENSORRT = OperatorLimits(
    "TensorRT 8.6",
    opsets=(9, 17),
    operators=_CNN | {"DequantizeLinear", "Loop", "QuantizeLinear"},
    rank=8,
    ranks=_UP_TO_3D,
    types=(_F32, _F16, _F64),
    open_axes=0,  # TensorRT can leave them open within bounds; the engines made here do not
    only_casts_uint8=True,
)

_RTX = replace(_TENSORRT, title="TensorRT for RTX", opsets=(9, 25), types=())

# CANN 8.0 to 9.0, "supported ONNX operators", pages of Conv, MaxPool and AveragePool; ATC manual,
# --input_shape. The page of Conv asks for one group at every rank; Ascend's ModelZoo compiles
# depthwise 4-D ones (MobileNet), so only 5-D ones are limited to it. The pages of the pools
# describe 4-D ones; the ModelZoo compiles C3D and I3D on 310 and 310P. AMCT quantises Conv3d.
_ASCEND_CONV: AttributeLimits = {
    "kernel_shape": range(1, 256),
    "strides": range(1, 64),
    "pads": range(256),
    "dilations": range(1, 256),
}
_ASCEND = OperatorLimits(
    "Ascend 310P (ATC)",
    opsets=(9, 18),
    operators=_CNN | {"HardSwish"},
    ranks=_UP_TO_3D,
    attributes={
        ("Conv", 4): _ASCEND_CONV,
        ("Conv", 5): {**_ASCEND_CONV, "group": range(1, 2), "auto_pad": ("NOTSET",)},
        ("MaxPool", 4): {"dilations": _NO_DILATION},
        ("AveragePool", 4): {"auto_pad": _NO_SAME_LOWER},
    },
    width=4096,
    types=(_F32, _F16),
    precisions={("Conv", 5): ("fp16", "int8")},
    open_axes=0,
    reserved=":;",
)

# NvInfer.h 8, notes on DLA of IConvolutionLayer and IPoolingLayer.
_DLA_CONV: AttributeLimits = {
    "kernel_shape": range(1, 33),
    "strides": range(1, 9),
    "pads": range(32),
    "dilations": range(1, 33),
}
_DLA_POOL: AttributeLimits = {"kernel_shape": range(1, 9)}

# mindspore-lite 2.7 source, converter's pool parsers.
_LITE_POOL: AttributeLimits = {"dilations": _NO_DILATION, "auto_pad": _NO_SAME_LOWER}

_MINDSPORE = """
Abs Add AveragePool BatchNormalization Cast Clip Concat Conv Div Dropout Erf Exp Flatten Gather Gemm
GlobalAveragePool HardSigmoid HardSwish Identity InstanceNormalization LeakyRelu Log MatMul Max
MaxPool Min Mul Neg PRelu Pad Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Sigmoid
Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze
Constant ConstantOfShape Equal Expand If Range Shape Size Tile Where"""

OPERATOR_LIMITS: dict[str, OperatorLimits] = {
    # ONNX Runtime 1.31: its registry of kernels, and models of one node run in it (no Relu below
    # opset 6, pools of three axes at most, Conv in float32 with float16 cast to it). The newest
    # opset depends on the release, and every export to ONNX is run anyway.
    "onnx": OperatorLimits(
        "ONNX Runtime (CPU)",
        opsets=(6, None),
        without=("ImageDecoder",),
        domains=("ai.onnx.ml", "com.microsoft"),
        ranks=dict.fromkeys(_POOLS, 5),
        types=(_F32, _F16),
    ),
    # OpenVINO, src/frontends/onnx/docs/supported_ops.md; models of one node compiled by 2026.4.
    "openvino": OperatorLimits(
        "OpenVINO",
        without=("Bernoulli", "DeformConv", "Det", "ImageDecoder", "MaxUnpool"),
        domains=("com.microsoft",),
        ranks=dict.fromkeys(("Conv", "ConvTranspose", "MaxPool", "AveragePool"), 5),
    ),
    # The operators of `targets/mindspore/cell.py`, and those folded before it. MindSpore 2.10's
    # export fixes every shape.
    "mindspore": OperatorLimits(
        "MindSpore (CPU)",
        opsets=(13, None),
        operators=frozenset(_MINDSPORE.split()),
        ranks=_UP_TO_3D,
        types=(_F32,),
        open_axes=0,
    ),
    # mindspore-lite 2.7 source: no Conv3D kernel registered for the CPU; norms take the last axis
    # for the channels, and only 4-D tensors are brought to that layout; nnacl's MAX_SHAPE_SIZE;
    # converter_lite splits --inputShape at : and ; and calibrate_path at : and , too. Operator
    # list of 2.10: convolutions in FP32 and FP16. OpenHarmony's list is of ONNX opset 18. The real
    # 2.0, operator by operator: no parser for HardSwish, no kernel for uint8 but Cast.
    "mindspore-lite": OperatorLimits(
        "MindSpore Lite (CPU)",
        opsets=(1, 18),
        operators=_CNN,
        rank=8,
        ranks=_UP_TO_2D | _NORMS_2D,
        attributes={("MaxPool", 4): _LITE_POOL, ("AveragePool", 4): _LITE_POOL},
        types=(_F32, _F16),
        reserved=":;,",
        only_casts_uint8=True,
        is_lite=True,
    ),
    "ascend310": replace(_ASCEND, title="Ascend 310 (ATC)"),
    "ascend310p": _ASCEND,
    # cann/ops-nn, README of Conv3DV2: not for Atlas 200I/500 A2; no public model shows another way.
    "ascend310b": replace(_ASCEND, title="Ascend 310B (ATC)", ranks=_UP_TO_2D),
    "tensorrt": _TENSORRT,
    "tensorrt10": replace(_TENSORRT, title="TensorRT 10", opsets=(9, 20), types=()),
    "tensorrt11": replace(_TENSORRT, title="TensorRT 11", opsets=(9, 25), types=()),
    # TensorRT for RTX 1.7.1 itself: models of one node parsed and built for each chip. Turing's
    # refusals are messages of its builder: "FP32 3D convolution is not supported", "FP32 3D
    # deconvolution ...", "FP32 GEMM ...".
    "tensorrt-rtx": _RTX,
    "tensorrt-rtx-sm75": replace(
        _RTX,
        title="TensorRT for RTX on Turing (sm75)",
        precisions=dict.fromkeys(
            (("Conv", 5), ("ConvTranspose", 5), ("Gemm", 0), ("MatMul", 0)), ("fp16", "int8")
        ),
    ),
    # TensorRT, "DLA Supported Layers and Restrictions": 2-D only, no dynamic dimensions, at most
    # 8192 along an axis.
    "dla": replace(
        _TENSORRT,
        title="DLA",
        ranks=_UP_TO_2D,
        attributes={
            ("Conv", 4): _DLA_CONV,
            ("MaxPool", 4): _DLA_POOL,
            ("AveragePool", 4): _DLA_POOL,
        },
        width=8192,
        open_axes=0,
    ),
    # RKNN-Toolkit2 2.5.0 itself, models of one node: a MaxPool of three axes ends it by a signal,
    # and so does a uint8 input ("Not Support Dtype: 2"). A Conv of three axes it writes as one of
    # two over the channels of all frames, most of whose weights are zero; `rknn_form` wants none.
    "rknn": OperatorLimits(
        "RKNN-Toolkit2 (Rockchip's NPUs)", ranks=_UP_TO_2D, types=(_F32,), open_axes=0
    ),
    # ONNX Runtime, core/providers/xnnpack/nn/conv_base.cc. Nodes that this provider and CoreML's
    # leave run on the CPU's, so only the layers are checked that they exist for.
    "xnnpack": OperatorLimits(
        "XNNPACK", opsets=(11, None), ranks=_UP_TO_2D, types=(_F32,), open_axes=1
    ),
    # ONNX Runtime, coreml_supported_ops.md and coreml_supported_mlprogram_ops.md.
    "coreml": OperatorLimits("CoreML", ranks=_UP_TO_2D, types=(_F32, _F16)),
}
"""The limits by target; those of "tensorrt" are of the oldest supported release."""
