"""MindIR file of an ONNX artifact, which the MindSpore framework runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import ModelError, OutputError, UsageError
from r2p_edge.export.graph.model import load_onnx, network_input
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.base import (
    Built,
    OnnxForm,
    TargetOptions,
    file_stem,
    fresh_spec,
)
from r2p_edge.export.targets.table import contract_for
from r2p_edge.export.verify.parity import check_parity, parity_reference
from r2p_edge.runtimes.mindspore import TARGET, MindSpore, reason
from r2p_edge.spec import ModelSpec

# Paths that mindspore.export takes (mindspore/_checkparam.py, check_file_name_by_regular).
_PLAIN = re.compile(r"[0-9a-zA-Z@_\-.:/\\]+")


def mindspore_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "mindspore" target with the framework."""
    path = out / f"{file_stem(source.spec)}.mindir"
    return Built(options.target, path, mindspore_from_onnx(source.path, path))


def mindspore_from_onnx(source: str | Path, path: str | Path) -> ModelSpec:
    """Write an fp32 ONNX artifact as the MindIR file `path`, with its spec in a sidecar.

    Args:
        source: an ONNX file with a spec, as `onnx_from_checkpoint` and its like write it. MindSpore
            runs the form "conv3d" faster than "conv2d".
        path: the .mindir file to write.

    Returns:
        The spec of the file. Its parity compares it with `source`; under "onnx" is the parity
        record of `source` itself.

    Raises:
        UsageError: `path` does not end in .mindir, or `source` is not fp32.
        ModelNotFoundError, ModelError, SpecError: `source` cannot be used, see `open_artifact`, or
            has operators without a form in MindSpore; all are named.
        ParityError: the MindIR's outputs differ from those of `source`; nothing is written.
        OutputError: `path` cannot be written.
        BackendError: this process has set MindSpore to another device than the CPU.
        MissingDependencyError: mindspore, onnx or onnxruntime is not installed.
    """
    source, path = Path(source), Path(path)
    if path.suffix != ".mindir":
        raise UsageError(f"{path} is to become a MindIR file, whose name must end in .mindir")
    check_folder(path)
    mindspore = MindSpore.library()
    original = contract_for("mindspore", source)
    if original.precision != "fp32":
        raise UsageError(
            f"{source} is {original.precision}, and a MindIR file is made from fp32; give the "
            "fp32 model"
        )
    model = load_onnx(source)
    require_ops(model, "mindspore")
    spec = fresh_spec(original, target=TARGET, built_with=built_with("mindspore"))
    reference = parity_reference(source)
    with scratch_folder(path) as folder:
        draft = _export(mindspore, model, reference.inputs.dtype, folder)
        spec = spec.replace(
            parity=check_parity(draft, spec, reference, MindSpore, artifact="the MindIR model")
        )
        write_artifact(path, spec, draft.read_bytes())
    return spec


def _export(mindspore: Any, model: Any, kind: Any, folder: Path) -> Path:
    """Write the model, with an input of dtype `kind`, as a MindIR file into `folder`."""
    from r2p_edge.export.targets.mindspore.cell import cell_from_onnx

    draft = folder / "model.mindir"
    if not _PLAIN.fullmatch(str(draft)):
        raise OutputError(
            f"the folder for temporary files is {folder.parent}, where mindspore.export cannot "
            "write because of a character other than letters, digits and @_-.:/; set TMPDIR to "
            "another folder"
        )
    shape = [axis.dim_value for axis in network_input(model).type.tensor_type.shape.dim]
    cell = cell_from_onnx(model, folder)
    example = mindspore.Tensor(np.zeros(shape, kind))
    level = mindspore.get_context("jit_syntax_level")
    try:
        mindspore.export(cell, example, file_name=str(draft), file_format="MINDIR")
    # The compiler's and the primitives' errors are of many types.
    except Exception as error:
        raise ModelError(
            f"mindspore {mindspore.__version__} cannot compile the model ({reason(error)}); "
            "rewrite that operator, or choose another target"
        ) from error
    finally:
        # A failed export leaves its own level set.
        mindspore.set_context(jit_syntax_level=level)
    return draft
