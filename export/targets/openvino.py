"""OpenVINO IR of an ONNX artifact: `.xml` with the graph and the spec, `.bin` with the weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.artifact.openvino_ir import RT_INFO, weights_path
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import ModelError, OutputError, SpecError, UsageError, one_line
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.base import Built, OnnxForm, TargetOptions, file_stem, fresh_spec
from r2p_edge.export.targets.table import contract_for
from r2p_edge.export.verify.parity import check_parity, parity_reference
from r2p_edge.runtimes.openvino import OpenVino, new_core, read_model
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    from r2p_edge.export.form_maker import FormFiles

_PRECISIONS = ("fp32", "fp16")  # that an fp32 model can become
_CANNOT_WRITE = re.compile("Can't open|basic_ios")  # OpenVINO's words for what the system refuses


def openvino_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "openvino" target; an int8 one has its measured accuracy in its spec."""
    accuracy = None
    if options.quantizer is not None and source.fp32 is not None:
        accuracy = partial(options.quantizer.accuracy, source.fp32, runtime="openvino")
    precision = None if options.precision == "int8" else options.precision
    planned = source.spec.replace(precision=precision or source.spec.precision)
    path = out / f"{file_stem(planned)}.xml"
    form = None if options.form is None else partial(options.form.as_openvino, source)
    spec = openvino_from_onnx(source.path, path, precision=precision, accuracy=accuracy, form=form)
    return Built(options.target, path, spec)


def openvino_npu_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "openvino-npu" target: the IR in fp16, verified on the CPU."""
    return openvino_artifact(source, out, replace(options, precision="fp16"))


def openvino_from_onnx(
    source: str | Path,
    path: str | Path,
    *,
    precision: Literal["fp32", "fp16"] | None = None,
    accuracy: Callable[[Path, ModelSpec], Mapping[str, Any]] | None = None,
    form: Callable[[Path, ModelSpec], FormFiles] | None = None,
) -> ModelSpec:
    """Write an ONNX artifact as `path`, with its weights in a `.bin` file, and a sidecar.

    Args:
        source: an ONNX file with a spec, as `onnx_from_checkpoint` and its like write it.
        path: the .xml file to write.
        precision: "fp16" halves the weights; devices with fp16 arithmetic then compute in it, the
            others in fp32. By default that of `source`.
        accuracy: called with a draft of the IR and its spec; returns the `accuracy` record.
        form: called with `path` and the spec; returns the form with state to write beside it.

    Returns:
        The spec as it is in the file. Its parity compares it with `source`; under "onnx" is the
        parity record of `source` itself.

    Raises:
        UsageError: `path` does not end in .xml, or `source` cannot become that precision.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has an operator that OpenVINO lacks.
        ParityError: the IR's outputs differ from those of `source`; nothing is written.
        OutputError: a file cannot be written.
        BackendError: openvino or onnxruntime is not installed or does not work.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".xml":
        raise UsageError(f"{path} is to become an OpenVINO file, whose name must end in .xml")
    for file in (path, weights_path(path), sidecar_path(path)):
        check_folder(file)
    openvino = OpenVino.library()
    original = contract_for("openvino", source)
    require_ops(load_onnx(source), "openvino")
    if precision not in (None, original.precision) and (
        original.precision != "fp32" or precision not in _PRECISIONS
    ):
        raise UsageError(
            f"{source} is {original.precision} and cannot become {precision}; fp32 can become "
            f"{' or '.join(_PRECISIONS)}"
        )
    spec = fresh_spec(
        original,
        precision=precision or original.precision,
        built_with=built_with("openvino"),
    )
    reference = parity_reference(source)
    model = read_model(openvino, new_core(openvino), source, spec)
    if "framework" in model.rt_info:
        # The ONNX file's metadata, with its own spec.
        del model.rt_info["framework"]
    model.set_friendly_name(spec.name)
    half = spec.precision == "fp16"
    with scratch_folder(path) as folder:
        draft = folder / "draft.xml"
        save_ir(model, draft, source=source, half=half)
        spec = spec.replace(
            parity=check_parity(draft, spec, reference, OpenVino, artifact="the OpenVINO model")
        )
        if accuracy is not None:
            spec = spec.replace(accuracy=accuracy(draft, spec))
        parts: Mapping[str, bytes] = {}
        if form is not None:
            record, parts = form(path, spec)
            spec = spec.replace(per_frame=record)
        write_ir(model, spec, path, draft=draft, source=source, half=half, parts=parts)
    return spec


def save_ir(model: Any, draft: Path, *, source: Path, half: bool) -> None:
    """Save an `openvino.Model` as a temporary file.

    Args:
        model: the model.
        draft: the .xml file.
        source: the file that it is made from, for errors.
        half: whether to halve the weights to fp16.

    Raises:
        ModelError: OpenVINO cannot write it.
        OutputError: there is too little room.
    """
    openvino, folder = OpenVino.library(), draft.parent
    try:
        openvino.save_model(model, draft, compress_to_fp16=half)
    except RuntimeError as error:
        if _CANNOT_WRITE.search(str(error)):
            raise _no_room(folder, one_line(error)) from error
        raise ModelError(
            f"openvino cannot write {source} as IR ({one_line(error)}); run the .onnx file on it "
            "instead"
        ) from error
    if not draft.read_bytes().rstrip().endswith(b"</net>"):  # it notices no full disk
        raise _no_room(folder, "its file is cut off")


def write_ir(
    model: Any,
    spec: ModelSpec,
    path: Path,
    *,
    draft: Path,
    source: Path,
    half: bool,
    parts: Mapping[str, bytes] | None = None,
) -> None:
    """Write an `openvino.Model` with its spec, and a sidecar.

    Args:
        model, source, half: see `save_ir`.
        spec: its contract.
        path: the .xml file to write.
        draft: a temporary .xml file.
        parts: see `write_artifact`.

    Raises:
        SpecError: the spec has characters that XML does not keep.
        ModelError, OutputError: see `save_ir`.
    """
    model.set_rt_info(spec.to_json(), list(RT_INFO))
    save_ir(model, draft, source=source, half=half)
    if embedded_spec(draft) != spec:
        raise SpecError(
            f"the spec of {source} does not come back from an OpenVINO file; give it labels of "
            "characters that XML allows"
        )
    write_artifact(path, spec, draft.read_bytes(), weights_path(draft).read_bytes(), parts)


def _no_room(folder: Path, reason: str) -> OutputError:
    return OutputError(
        f"openvino cannot write into {folder} ({reason}); make room there, or set TMPDIR to "
        "another folder"
    )
