"""The quantisation of a float32 ONNX artifact to int8."""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.write import write_artifact
from r2p_edge.calibration.clip_feed import CalibrationClips
from r2p_edge.calibration.histograms import Range
from r2p_edge.calibration.placement import Placement, name_nodes, place
from r2p_edge.calibration.qdq import PROFILES, qdq_from_float
from r2p_edge.calibration.qdq_rules import require_rules
from r2p_edge.calibration.ranges import PASSES, RangeMethod, observe
from r2p_edge.calibration.sensitivity import choose_float_layers
from r2p_edge.errors import BackendError, ModelError, UsageError
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.graph.feature_outputs import drop_feature_outputs
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.packages import built_with
from r2p_edge.export.verify.feature_outputs import with_feature_outputs
from r2p_edge.export.verify.parity import parity_reference, verify_onnx
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.runtimes.cpu import read_cpu
from r2p_edge.runtimes.onnxruntime import OnnxRuntime
from r2p_edge.spec import ModelSpec

try:
    import onnx
except ImportError as error:
    raise missing("onnx") from error

COSINE = 0.99
"""Least cosine between the float and int8 logits; below it, layers stay float."""

_SAMPLE = 8  # clips on which the cosine is measured
_INTEGER = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger"}


def quantize_onnx(
    source: str | Path,
    path: str | Path,
    clips: CalibrationClips,
    *,
    method: RangeMethod = "minmax",
    profile: str | None = None,
    keep_float: Sequence[str] = (),
    cosine: float = COSINE,
    budget: float = 300.0,
    record: Callable[[], Mapping[str, Any]] = dict,
    progress: Callable[[], None] = lambda: None,
) -> ModelSpec:
    """Write a float32 ONNX artifact as an int8 one, calibrated on clips.

    The same clips and versions give the same bytes, unless `budget` runs out.

    Args:
        source: an ONNX file with a spec, as `onnx_from_checkpoint` writes it.
        path: the .onnx file to write.
        clips: clips like those that the model will see, as its spec describes them.
        method: the way from activations to ranges, see `observe`.
        profile: a key of `PROFILES`; by default that of this machine's CPU.
        keep_float: names of convolutions that stay float.
        cosine: least cosine of the logits with those of `source`, for the worst of the first clips.
            If int8 does not reach it, the layers with the most noise stay float too.
        budget: seconds that the search for these layers may take.
        record: returns the record of the clips for the spec; called after all were read.
        progress: called after each clip of each pass, see `PASSES`.

    Returns:
        The spec as it is in the file. Its parity is that with `source`, over synthetic clips.

    Raises:
        UsageError: the method, profile or layer does not exist.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`; or
            it is quantised already, is not float32, has batch norm, or computes NaN.
        VideoError: there are no clips, or one is not what the spec describes.
        BackendError: the installed ONNX Runtime computes int8 wrongly on this CPU.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    if profile is None:
        profile = profile_of_this_cpu()
    for option, value, known in (("method", method, PASSES), ("profile", profile, PROFILES)):
        if value not in known:
            raise UsageError(f"{option} is {value!r}; choose one of {', '.join(known)}")
    if fault := OnnxRuntime.int8_fault():
        # It judges the layers and verifies the result; what it says would be noise.
        raise BackendError(f"int8 cannot be made here: {fault}")
    source = Path(source)
    if source.suffix.lower() != ".onnx":
        raise ModelError(f"{source} is not an ONNX file; give the .onnx of an fp32 export")
    check_folder(path)
    original = open_artifact(source).spec
    model = load_onnx(source)
    further = original.feature_outputs is not None
    if further:  # put out again at the end
        drop_feature_outputs(model, original)
    check_float(model, original)
    name_nodes(model)
    form = PROFILES[profile]

    def placed(layers: Collection[str]) -> Placement:
        return place(
            model,
            stem=form.stem,
            both_summands=form.both_summands,
            keep_float={*keep_float, *layers},
        )

    placement = placed(())
    observed = observe(model, original, placement.tensors, clips, method=method, progress=progress)

    def quantised(layers: Collection[str]) -> onnx.ModelProto:
        return qdq_from_float(model, placed(layers), observed.ranges, form)

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
        accuracy=None,  # that of the source, if it has one
        target=None,
        per_frame=None,
        built_with=built_with("onnx", "onnxruntime"),
    )
    logits = parity_reference(source).outputs
    found = verify_onnx(
        result.SerializeToString(), spec, verification_clips(spec), logits, reference="onnx"
    )
    spec = spec.replace(parity={**found, "onnx": original.parity})
    if further:
        spec = with_feature_outputs(result, spec)
    embed_spec(result, spec)
    write_artifact(Path(path), spec, result.SerializeToString(deterministic=True))
    return spec


def profile_of_this_cpu() -> str:
    """Return the profile for ONNX Runtime and OpenVINO on this machine; see `PROFILES`."""
    if platform.machine() in ("aarch64", "arm64"):
        return "arm"
    return "cpu-avx2" if read_cpu().int8 == "saturating" else "cpu"


def check_float(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Check that a model can be quantised.

    Raises:
        ModelError: it is quantised already, is not float32, or has batch norm.
    """
    integers = [n for n in model.graph.node if n.op_type in _INTEGER or "QLinear" in n.op_type]
    if integers or spec.precision == "int8":
        where = f" ({integers[0].op_type} {integers[0].name})" if integers else ""
        raise ModelError(
            f"the model is quantised already{where}; give the float model that it was made from"
        )
    if spec.precision != "fp32":
        raise ModelError(
            f"the model is {spec.precision}, but int8 is made from fp32; export it in that"
        )
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    if norms:
        raise ModelError(
            f"the model has {len(norms)} batch norms that are not folded into its convolutions "
            f"(the first is {norms[0].name or norms[0].output[0]}), so its stored "
            "weights are not the effective ones; export it in evaluation mode, or from its "
            "checkpoint"
        )


def _digest(ranges: Mapping[str, Range]) -> str:
    return hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()
