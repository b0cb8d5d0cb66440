"""ONNX artifacts of PyTorch modules."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import ModelError, SpecError
from r2p_edge.export.graph.adapt import adapt
from r2p_edge.export.graph.builder import OPSET, check_batch
from r2p_edge.export.graph.model import graph_kind
from r2p_edge.export.packages import built_with
from r2p_edge.export.targets.base import fresh_spec
from r2p_edge.export.targets.onnx import check_is_spec, write_verified
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def onnx_from_torch(
    module: torch.nn.Module, spec: ModelSpec, path: str | Path, *, batch: int = 1
) -> ModelSpec:
    """Write a PyTorch module as an ONNX artifact.

    The module is traced in evaluation mode by the TorchScript exporter of `torch.onnx`, which
    needs no further package (the other one needs onnxscript). Export a module that it refuses by
    other means, and bring the file in with `onnx_from_onnx`.

    Args:
        module: takes normalised float32 (N, 3, T, H, W) and returns (N, classes). Its training
            mode is restored afterwards.
        spec: how the module was trained. Its graph, source, built_with and parity are filled in;
            accuracy and target, which are about another file, are left out.
        path: the .onnx file to write.
        batch: size of the static batch axis.

    Returns:
        The spec as it is in the file.

    Raises:
        ModelError: the module does not run or cannot be exported.
        SpecError: its output has another number of classes, or is of another kind, than the spec
            says.
        UsageError: `batch` is not positive.
        ParityError: the artifact's outputs differ from the module's; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: torch or onnxruntime is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch") from error
    import onnx

    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"the model is a {type(module).__name__}; expected a torch.nn.Module, so load the "
            "state dict into its module"
        )
    check_is_spec(spec)
    check_folder(path)
    check_batch(batch)
    clips = verification_clips(spec)
    inputs = torch.from_numpy(normalized(clips, spec))
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        device = next((parameter.device for parameter in module.parameters()), inputs.device)
        with torch.no_grad():
            outputs = [module(clip[None].to(device)).float().cpu() for clip in inputs]
            logits = torch.cat(outputs).numpy()
            example = inputs[:1].expand(batch, -1, -1, -1, -1).to(device)
            exported = _traced(module, example)
    except Exception as error:  # the module's own code may raise anything
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{type(module).__name__} cannot be run or exported for clips of "
            f"{tuple(inputs.shape[1:])} ({reason}); export it to ONNX by other means"
        ) from error
    finally:
        for part, mode in modes:
            part.training = mode
    if logits.shape != (len(clips), len(spec.labels)):
        raise SpecError(
            f"{type(module).__name__} returns {logits.shape} for {len(clips)} clips but the spec "
            f"has {len(spec.labels)} labels; give one label per class"
        )
    source = {
        "file": f"{type(module).__module__}.{type(module).__qualname__}",
        "sha256": hashlib.sha256(exported).hexdigest(),
        "dialect": "torch",
    }
    model = onnx.load_model_from_string(exported)
    packages = built_with("onnx", "torch")
    spec = fresh_spec(spec, graph=graph_kind(model), source=source, built_with=packages)
    adapt(model, spec, batch)
    version = torch.__version__.partition("+")[0]
    return write_verified(model, spec, path, clips, logits, f"torch {version}")


def _traced(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    """Return the ONNX file that PyTorch writes of the module."""
    import torch

    # torch 2.5 to 2.8 have the argument but not the new default, earlier ones have neither.
    arguments: dict[str, Any] = {"opset_version": OPSET}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        arguments["dynamo"] = False
    with scratch_folder() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        file = folder / "traced.onnx"
        torch.onnx.export(module, (example,), file, **arguments)
        return file.read_bytes()
