"""Trained models become ONNX artifacts, each compared with its source before it is written."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from r2p_edge._optional import missing
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.graph.adapt import adapt, check_normalisation
from r2p_edge.export.graph.builder import OPSET, check_batch, embed_spec
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.model import graph_kind, load_onnx, takes_pixels
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters
from r2p_edge.export.packages import built_with
from r2p_edge.export.verify.first_difference import Activations
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.parity import verify_onnx
from r2p_edge.export.verify.reference import reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized, verification_clips
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx
    import torch


def onnx_from_checkpoint(
    checkpoint: str | Path,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: int = 1,
    graph: Literal["conv3d", "conv2d"] = "conv3d",
) -> ModelSpec:
    """Writes the R(2+1)D network in a checkpoint file as an ONNX artifact.

    Neither MindSpore nor, but for .pth and .pt files, PyTorch is needed. The channels of the
    input are in the order of `spec.input.color`, which is the one the network was trained with.

    Args:
        checkpoint: a .ckpt, .pth, .pt or .safetensors file.
        spec: how the network was trained: labels, clip, preprocessing; its arch, graph, source,
            built_with and parity are filled in.
        path: the .onnx file to write.
        batch: size of the static batch axis.
        graph: "conv2d" for the exact form without 3-D convolutions.

    Returns:
        The spec as it is in the file.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
        SpecError: the spec contradicts the network.
        UsageError: `batch` is not positive.
        ParityError: the artifact does not answer as the parameters do; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnxruntime, or torch for a .pth file, is not installed.
    """
    _check_is_spec(spec)
    check_folder(path)
    check_batch(batch)
    read = read_checkpoint(checkpoint)
    named = canonical_parameters(read.parameters)
    network = network_from_parameters(named.parameters, named.bn_eps)
    source = {"file": read.file, "sha256": read.sha256, "dialect": named.dialect}
    spec = spec.replace(graph="conv3d", source=source, built_with=built_with("onnx"), parity=None)
    model = onnx_from_parameters(named.parameters, network, spec, batch=batch)
    spec = spec.replace(arch=network.arch)

    clips = verification_clips(spec)

    def activations(clip: np.ndarray) -> Any:
        return reference_activations(named.parameters, named.bn_eps, normalized(clip, spec))

    logits = reference_logits(named.parameters, named.bn_eps, normalized(clips, spec))
    if graph == "conv2d":
        # Its tensors have other shapes than the reference's, so that none can be named.
        model, spec = conv2d_from_conv3d(model), spec.replace(graph="conv2d")
        return _write(model, spec, path, clips, logits, "numpy")
    return _write(model, spec, path, clips, logits, "numpy", activations)


def onnx_from_onnx(
    source: str | Path,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: int | None = None,
    graph: Literal["conv3d", "conv2d"] | None = None,
) -> ModelSpec:
    """Writes another ONNX model as an artifact: with `spec`, and with the input it describes.

    Args:
        source: an ONNX file with one input and one output. The input is normalised float32
            (N, 3, T, H, W), in front of which the spec's normalisation is put, or uint8 in the
            spec's layout with the normalisation in the graph already. The output is what
            `spec.output.kind` says, (N, classes).
        spec: how the model was trained; its graph, source, built_with and parity are
            filled in. The source of an artifact is what that was made from.
        path: the .onnx file to write; all weights are in it.
        batch: size of the static batch axis; by default the model's own, 1 where that is open.
        graph: "conv2d" for the exact form without 3-D convolutions; "conv3d" insists on the
            model's having them. By default it stays as it is.

    Returns:
        The spec as it is in the file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is no ONNX model, does not run, or is larger than the 2 GiB of one file.
        SpecError: the model's input or output is not what the spec describes, or it is an
            artifact whose graph normalises otherwise.
        UsageError: `batch` is not positive, or the model's batch axis has another size; or
            `graph` is "conv3d" and the model has no 3-D convolution.
        ParityError: the artifact does not answer as the model does; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnxruntime is not installed.
    """
    _check_is_spec(spec)
    check_folder(path)
    if batch is not None:
        check_batch(batch)
    source = Path(source)
    model = load_onnx(source)
    carried = embedded_spec(source)
    if carried is not None:
        check_normalisation(carried, spec)
    if carried is not None and carried.source is not None:
        record = carried.source
    else:
        record = {"file": source.name, "sha256": sha256_of_file(source), "dialect": "onnx"}
    spec = spec.replace(
        graph=graph_kind(model), source=record, built_with=built_with("onnx"), parity=None
    )
    if graph == "conv3d" and spec.graph != "conv3d":
        raise UsageError(
            f"{source} has no 3-D convolutions and cannot get them back; leave --graph out, or "
            "export from the checkpoint"
        )
    pixels = takes_pixels(model)
    adapt(model, spec, batch)
    clips = verification_clips(spec)
    tensor = input_from_clips(clips, spec) if pixels else normalized(clips, spec)
    logits = run_session(open_session(source), tensor)
    if graph == "conv2d":
        model, spec = conv2d_from_conv3d(model), spec.replace(graph="conv2d")
    return _write(model, spec, path, clips, logits, "onnx")


def onnx_from_torch(
    module: torch.nn.Module, spec: ModelSpec, path: str | Path, *, batch: int = 1
) -> ModelSpec:
    """Writes a PyTorch module as an ONNX artifact.

    The module is traced in evaluation mode by the TorchScript exporter of `torch.onnx`, which
    needs no further package (the other one needs onnxscript). A module that it cannot export may
    be exported by other means and brought in with `onnx_from_onnx`.

    Args:
        module: takes normalised float32 (N, 3, T, H, W) and returns (N, classes). Its training
            mode is as before afterwards.
        spec: how the module was trained; its graph, source, built_with and parity are
            filled in.
        path: the .onnx file to write.
        batch: size of the static batch axis.

    Returns:
        The spec as it is in the file.

    Raises:
        ModelError: the module does not run or cannot be exported.
        SpecError: its output is not what the spec describes.
        UsageError: `batch` is not positive.
        ParityError: the artifact does not answer as the module does; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: torch or onnxruntime is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "torch") from error
    import onnx

    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"a {type(module).__name__} is no torch.nn.Module; load the state dict into its module"
        )
    _check_is_spec(spec)
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
    except Exception as error:  # whatever the module's own code raises
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
    spec = spec.replace(
        graph=graph_kind(model),
        source=source,
        built_with=built_with("onnx", "torch"),
        parity=None,
    )
    adapt(model, spec, batch)
    version = torch.__version__.partition("+")[0]
    return _write(model, spec, path, clips, logits, f"torch {version}")


def _check_is_spec(spec: object) -> None:
    if not isinstance(spec, ModelSpec):
        raise SpecError(
            f"the spec is a {type(spec).__name__}; give a ModelSpec, such as "
            "ModelSpec.from_file(path) or preset(name).spec(name=...)"
        )


def _traced(module: torch.nn.Module, example: torch.Tensor) -> bytes:
    import torch

    # torch 2.5 to 2.8 have the argument but not the new default, earlier ones have neither.
    arguments: dict[str, Any] = {"opset_version": OPSET}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        arguments["dynamo"] = False
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        file = Path(folder) / "traced.onnx"
        torch.onnx.export(module, (example,), file, **arguments)
        return file.read_bytes()


def _write(
    model: onnx.ModelProto,
    spec: ModelSpec,
    path: str | Path,
    clips: np.ndarray,
    logits: np.ndarray,
    reference: str,
    activations: Activations | None = None,
) -> ModelSpec:
    """Compares the model with its source; writes it, with the proof in its spec, and a sidecar."""
    sums = logits.sum(axis=1)
    if spec.output.kind == "logits" and logits.min() >= 0 and np.abs(sums - 1).max() < 1e-3:
        raise SpecError(
            "the model's outputs are never negative and sum to 1, but the spec calls them logits; "
            "set output.kind to probabilities, or softmax would be applied twice"
        )
    require_ops(model, "onnx")
    found = verify_onnx(
        _bytes(model), spec, clips, logits, reference=reference, activations=activations
    )
    spec = spec.replace(parity=found)
    embed_spec(model, spec)
    atomic_write(path, _bytes(model))
    write_sidecar(path, spec)
    return spec


def _bytes(model: onnx.ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except Exception as error:  # ValueError, or protobuf's own, by its version
        raise ModelError(
            f"the model does not fit into one ONNX file ({error}); its weights may have 2 GiB "
            "at most"
        ) from error
