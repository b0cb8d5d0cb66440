"""An ONNX artifact becomes an OpenVINO IR: `.xml` with the graph and the spec, `.bin` weights."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from r2p_edge._files import atomic_write, check_folder
from r2p_edge._openvino_ir import RT_INFO, weights_path
from r2p_edge.agreement import agreement
from r2p_edge.artifact import open_artifact, sidecar_path
from r2p_edge.errors import UsageError
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.openvino import OpenVino, read_model
from r2p_edge.spec import ModelSpec

from ._packages import built_with
from .clips import input_from_clips, verification_clips
from .foreign import load
from .operators import require_ops
from .verify import open_session, parity, run_runtime, run_session


def openvino_from_onnx(
    source: str | Path, path: str | Path, *, precision: Literal["fp32", "fp16"] | None = None
) -> ModelSpec:
    """Writes an ONNX artifact as `path` and, beside it, the `.bin` file of its weights.

    Args:
        source: an ONNX file with a spec, as `onnx_from_checkpoint` and its like write it.
        path: the .xml file to write.
        precision: "fp16" halves the weights; devices with fp16 arithmetic then compute in it, the
            others in fp32. By default that of `source`.

    Returns:
        The spec as it is in the file. Its parity is that with `source`, and under "onnx" that of
        `source` with what it was made from.

    Raises:
        UsageError: `path` does not end in .xml, or `source` cannot become that precision.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has an operator that OpenVINO lacks.
        ParityError: the IR does not answer as `source` does; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: openvino or onnxruntime is not installed.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".xml":
        raise UsageError(f"{path} is to become an OpenVINO file, whose name must end in .xml")
    check_folder(path)
    openvino = OpenVino.library()
    artifact = open_artifact(source)
    require_ops(load(source), "openvino")
    original = artifact.spec
    if precision not in (None, original.precision) and original.precision != "fp32":
        raise UsageError(f"{source} is {original.precision} and cannot become {precision}")
    spec = original.replace(
        precision=precision or original.precision,
        built_with=built_with("openvino"),
        parity=None,
    )
    tensor = input_from_clips(verification_clips(spec), spec)
    logits = run_session(open_session(source), tensor)
    model = read_model(openvino, openvino.Core(), source, spec)
    # The ONNX file's metadata, an outdated spec among them.
    del model.rt_info["framework"]
    model.set_friendly_name(spec.name)
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name

        def save() -> None:
            openvino.save_model(model, draft, compress_to_fp16=spec.precision == "fp16")

        save()
        spec = spec.replace(parity=_parity(draft, spec, tensor, logits, original.parity))
        model.set_rt_info(spec.to_json(), list(RT_INFO))
        save()
        # The other way round, an interruption would leave a graph that is newer than its weights
        # and has no sidecar to tell of it.
        atomic_write(weights_path(path), weights_path(draft).read_bytes())
        atomic_write(path, draft.read_bytes())
    # One that lay there describes the bytes that were just replaced.
    sidecar_path(path).unlink(missing_ok=True)
    return spec


def _parity(
    draft: Path, spec: ModelSpec, tensor: Any, logits: Any, of_source: Mapping[str, Any] | None
) -> dict[str, Any]:
    runtime = OpenVino.open(draft, spec, Options())
    try:
        outputs = run_runtime(runtime, tensor)
        where = f"openvino {metadata.version('openvino')} on {runtime.device}"
        computed_in = runtime.precision
    finally:
        runtime.close()
    found = agreement(logits, outputs)
    record = parity(found, spec.precision, reference="onnx", what="the OpenVINO model")
    return {**record, "runtime": where, "computed_in": computed_in, "onnx": of_source}
