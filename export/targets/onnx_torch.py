"""ONNX artifacts of PyTorch modules."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.graph.adapt import adapt
from r2p_edge.export.graph.builder import check_batch
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.model import graph_kind
from r2p_edge.export.graph.settled import require_pixels
from r2p_edge.export.packages import built_with
from r2p_edge.export.pixels import Pixels, pixels_taken
from r2p_edge.export.targets.base import fresh_spec
from r2p_edge.export.targets.onnx import check_is_spec, write_verified
from r2p_edge.export.targets.torch_module.trace import TracedModule, trace_module
from r2p_edge.export.targets.torch_module.user_code import described_error
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import torch


def onnx_from_torch(
    module: torch.nn.Module,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: int = 1,
    output: int | str | None = None,
    pixels: Pixels | None = None,
) -> ModelSpec:
    """Write a PyTorch module as an ONNX artifact.

    The work is done on a copy in a child process, in float32, on the CPU and in evaluation mode, so
    that the module itself stays as it is. It is traced by the TorchScript exporter of
    `torch.onnx`, which needs no further package. Where that fails, makes a file that does not run
    or answers otherwise, or takes too much memory, the other exporter is tried, if onnxscript is
    installed.

    Args:
        module: takes float32 (N, 3, T, H, W), normalised or as `pixels` says, and returns
            (N, classes); or (N, classes, T'), of which the mean over T' is taken; or a tuple, list,
            dict or dataclass with such a tensor in it. It may be wrapped by `DataParallel` or
            `torch.compile`, be TorchScript, or a program of `torch.export`.
        spec: how the module was trained. Its graph, source, built_with and parity are filled in;
            accuracy and target, which are about another file, are left out.
        path: the .onnx file to write.
        batch: size of the static batch axis.
        output: the place of the scores in what the module returns: an index, a key, or several
            with dots between them ("aux.logits").
        pixels: what the module takes: "normalized" pixels, as the spec says, or those from 0 to 1
            ("unit") or 0 to 255 ("raw"), which it may normalise by itself. By default the first,
            and an error where the module begins with a normalisation.

    Returns:
        The spec as it is in the file. Its source has the `output`, and as `averaged` the number
        of places in time over which the mean is taken.

    Raises:
        ModelError: the module does not run or cannot be exported.
        SpecError: its output has another number of classes, or is of another kind, than the spec
            says.
        UsageError: `batch` is not positive, the module returns several tensors and `output`
            chooses none of them, or `pixels` has to be given.
        ParityError: the artifact's outputs differ from the module's; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: torch or onnxruntime is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch") from error

    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"the model is a {type(module).__name__}; expected a torch.nn.Module, so load the "
            "state dict into its module"
        )
    check_is_spec(spec)
    check_folder(path)
    check_batch(batch)
    module = _on_cpu(module)
    spec = pixels_taken(spec, pixels)
    traced = trace_module(lambda: module, spec, batch=batch, output=output)
    if pixels is None:
        require_pixels(traced.front(spec), spec, traced.name)
    return onnx_from_traced(traced, spec, path, batch=batch)


def onnx_from_traced(
    traced: TracedModule,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: int = 1,
    graph: Literal["conv3d", "conv2d"] | None = None,
) -> ModelSpec:
    """Write a module that was traced as an ONNX artifact.

    Args:
        traced: of the same clip, crop, normalisation, labels and batch.
        spec, path, batch: see `onnx_from_torch`.
        graph: "conv2d" for the exact form without 3-D convolutions; "conv3d" refuses a module
            that has none. By default the form stays as it is.

    Returns:
        The spec as it is in the file.

    Raises:
        UsageError: `graph` is "conv3d" and the module has no 3-D convolution.
        SpecError, ModelError, ParityError, OutputError: see `onnx_from_torch`.
    """
    import onnx

    model = onnx.load_model_from_string(traced.file)
    sha256 = hashlib.sha256(traced.file).hexdigest()
    source = traced.source or {"file": traced.name, "sha256": sha256}
    spec = fresh_spec(
        spec,
        graph=graph_kind(model),
        source={**source, "dialect": "torch", **traced.answer},
        built_with=built_with("onnx", "torch"),
        feature_outputs=None,
    )
    if graph == "conv3d" and spec.graph != "conv3d":
        raise UsageError(
            f"{traced.name} has no 3-D convolutions and cannot be given any; leave --graph out"
        )
    adapt(model, spec, batch, layout="NCTHW")
    if graph == "conv2d":
        model, spec = conv2d_from_conv3d(model), spec.replace(graph="conv2d")
    clips = verification_clips(spec)
    return write_verified(model, spec, path, clips, traced.logits, traced.reference)


def _on_cpu(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module, or a copy on the CPU: a child process has no use of its parent's GPU."""
    from r2p_edge.export.targets.torch_module.network import unwrapped

    if all(each.device.type == "cpu" for each in (*module.parameters(), *module.buffers())):
        return module
    try:
        return copy.deepcopy(unwrapped(module)).cpu()
    except Exception as error:  # the module's own code may raise anything
        raise ModelError(
            f"{type(module).__qualname__} cannot be copied to the CPU ({described_error(error)}); "
            "move it there first, with module.cpu()"
        ) from error
