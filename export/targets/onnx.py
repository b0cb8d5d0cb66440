"""ONNX artifacts of checkpoints and of other ONNX models, verified before they are written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.artifact.write import write_artifact
from r2p_edge.errors import ModelError, SpecError, UsageError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.graph.adapt import adapt, check_normalisation
from r2p_edge.export.graph.builder import DYNAMIC, Batch, check_batch, embed_spec
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.ends import class_axis
from r2p_edge.export.graph.feature_outputs import drop_feature_outputs
from r2p_edge.export.graph.foreign import (
    check_kind,
    check_scores,
    found_kind,
    require_evaluation_mode,
    source_precision,
)
from r2p_edge.export.graph.front import found_front
from r2p_edge.export.graph.layout import by_class, input_layout, input_sizes, mean_doubt
from r2p_edge.export.graph.model import (
    INPUT_DTYPES,
    graph_kind,
    keep_output,
    load_onnx,
    network_input,
    network_output,
    takes_pixels,
)
from r2p_edge.export.graph.operators import require_ops
from r2p_edge.export.graph.r2plus1d import onnx_from_parameters
from r2p_edge.export.graph.settled import require_pixels
from r2p_edge.export.graph.static import drop_unused
from r2p_edge.export.packages import built_with
from r2p_edge.export.pixels import Pixels, pixels_taken
from r2p_edge.export.targets.base import Built, OnnxForm, TargetOptions, file_stem, fresh_spec
from r2p_edge.export.verify.feature_outputs import with_feature_outputs
from r2p_edge.export.verify.first_difference import Activations
from r2p_edge.export.verify.foreign_run import foreign_input, foreign_outputs
from r2p_edge.export.verify.parity import verify_onnx
from r2p_edge.export.verify.reference import reference_activations, reference_logits
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.export.warned import warned, warnings_of
from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

_log = logging.getLogger(__name__)


def onnx_artifact(source: OnnxForm, out: Path, options: TargetOptions) -> Built:
    """Build the "onnx" target: the form itself, an int8 one with its measured accuracy."""
    path = out / f"{file_stem(source.spec)}.onnx"
    if options.precision not in (None, source.spec.precision):
        raise UsageError(
            f"the model is {source.spec.precision} and cannot become {options.precision}; leave "
            "--precision out to keep it, or give the fp32 model that it was made from"
        )
    check_folder(path)
    spec = source.spec
    if options.quantizer is not None and source.fp32 is not None:
        accuracy = options.quantizer.accuracy(source.fp32, source.path, spec, "onnxruntime")
        spec = spec.replace(accuracy=accuracy)
    parts: Mapping[str, bytes] = {}
    if options.form is not None:
        form, parts = options.form.as_onnx(source, path)
        spec = spec.replace(per_frame=form)
    write_with_spec(source.path, spec, path, parts)
    return Built(options.target, path, spec)


def onnx_from_checkpoint(
    checkpoint: str | Path,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: Batch = 1,
    graph: Literal["conv3d", "conv2d"] = "conv3d",
    weights_key: str | None = None,
    family: str | None = None,
    hints: Sequence[str] = (),
    bn_eps: float | None = None,
    head: str | None = None,
    head_activation: Literal["relu", "none"] | None = None,
    weights_id: str | None = None,
    settled: bool = False,
) -> ModelSpec:
    """Write the network of a checkpoint file as an fp32 ONNX artifact.

    Neither MindSpore nor PyTorch is needed. The channels of the input are in the order of
    `spec.input.color`, which is the one the network was trained with.

    Args:
        checkpoint: a .ckpt, .pth, .pt or .safetensors file.
        spec: how the network was trained: labels, clip, preprocessing. Its arch, graph, precision,
            source, built_with and parity are filled in; other records are left out.
        path: the .onnx file to write.
        batch: size of the batch axis; "dynamic" leaves it open.
        graph: "conv2d" for the exact form without 3-D convolutions.
        weights_key: the place of the weights in a PyTorch file that has several sets of them, as
            keys with dots between them ("model_ema").
        family: name in `checkpoints.families.FAMILIES`, where the names and shapes are those of
            several families that compute different things.
        hints: names of families, such as those of a preset, which decide if one of them fits.
        bn_eps: epsilon of all batch norms, where it is not the family's. A whole module says its
            own, and its strides.
        head: name of the classifier's module, where a checkpoint has several; where it has several
            layers, their names, with commas between them; or a file with the classifier.
        head_activation: function between them, where the file does not say it.
        weights_id: ID of published weights, for the spec's source.
        settled: whether the network's answers are compared with those of its own framework, so that
            code in the file that does more than its family's is no error.

    Returns:
        The spec as it is in the file.

    Raises:
        CheckpointError: the file cannot be read, or is of another network, or of one of several
            families without a word which.
        SpecError: the spec contradicts the network.
        UsageError: `batch` or `bn_eps` is not positive, or there is no such head.
        ParityError: the artifact's outputs differ from the parameters'; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnxruntime is not installed.
    """
    check_is_spec(spec)
    check_folder(path)
    check_batch(batch)
    _check_open_batch(batch, graph)
    read = read_checkpoint(checkpoint, weights_key)
    options = WeightsOptions(
        weights_key, family, tuple(hints), bn_eps, head, head_activation, settled=settled
    )
    named = options.named(read)
    network = named.network()
    source = {"file": read.file, "sha256": read.sha256, "dialect": named.family.name}
    if weights_key is not None:
        source["weights_key"] = weights_key
    source |= named.record()
    if read.recorded is not None and read.recorded.source is not None:
        ancestry = ("parent", "training")
        source |= {k: v for k, v in read.recorded.source.items() if k in ancestry}
    if weights_id is not None:
        source["weights"] = weights_id
        if named.decided == "preset":  # the hint came from the registry
            source["dialect_by"] = "weights"
    spec = fresh_spec(
        spec,
        graph="conv3d",
        precision="fp32",
        source=source,
        built_with=built_with("onnx"),
        feature_outputs=None,
    )
    model = onnx_from_parameters(named.parameters, network, spec, batch=batch)
    spec = spec.replace(arch=network.arch)

    clips = verification_clips(spec)

    def activations(clip: np.ndarray) -> Any:
        return reference_activations(named.parameters, network, normalized(clip, spec))

    logits = reference_logits(named.parameters, network, normalized(clips, spec))
    if graph == "conv2d":
        # Its tensors have other shapes than the reference's, so that an error cannot name one.
        model, spec = conv2d_from_conv3d(model), spec.replace(graph="conv2d")
        return write_verified(model, spec, path, clips, logits, "numpy")
    return write_verified(model, spec, path, clips, logits, "numpy", activations)


def onnx_from_onnx(
    source: str | Path,
    spec: ModelSpec,
    path: str | Path,
    *,
    batch: Batch | None = None,
    graph: Literal["conv3d", "conv2d"] | None = None,
    output: str | None = None,
    pixels: Pixels | None = None,
) -> ModelSpec:
    """Write another ONNX model as an artifact: with `spec`, and with the input it describes.

    Args:
        source: an ONNX file with one input. That is a clip with its axes in any usual order,
            found by their sizes: of a floating-point type, in front of which the spec's
            normalisation is put, or uint8 with the normalisation in the graph already. The output
            has an axis of classes, and the mean is taken over all others but N. It is of the kind
            `spec.output.kind`.
        spec: how the model was trained. Its graph, source, built_with and parity are filled in;
            accuracy and target, which are about another file, are left out. Where `source` is an
            artifact, precision, calibration and source are that artifact's; else the precision
            is that of the model's operators and weights.
        path: the .onnx file to write; all weights are in it.
        batch: size of the batch axis; by default the model's own, 1 where that is open. "dynamic"
            leaves it open.
        output: name of the output, where the model has several.
        pixels: what the model takes: "normalized" pixels, as the spec says, or those from 0 to 1
            ("unit") or 0 to 255 ("raw"), which it normalises by itself. None is an error where its
            first nodes look as if it did and the spec normalises too.
        graph: "conv2d" for the exact form without 3-D convolutions; "conv3d" refuses a model
            that has none. By default the form stays as it is.

    Returns:
        The spec as it is in the file.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: it is not an ONNX model, was exported in training mode, does not run, or is
            larger than the 2 GiB of one file.
        SpecError: the model's input or output is not what the spec describes, or it is an
            artifact whose graph normalises otherwise.
        UsageError: `batch` is not positive, or the model's batch axis has another size; `graph`
            is "conv3d" and the model has no 3-D convolution; or `pixels` has to be given.
        ParityError: the artifact's outputs differ from the model's; nothing is written.
        OutputError: `path` cannot be written.
        MissingDependencyError: onnxruntime is not installed.
    """
    check_is_spec(spec)
    check_folder(path)
    if batch is not None:
        check_batch(batch)
    _check_open_batch(batch, graph)
    source = Path(source)
    model = load_onnx(source)
    carried = embedded_spec(source)
    record = None
    if carried is not None:
        check_normalisation(carried, spec)
        # What its weights are stays true, whatever recipe is given now.
        spec = spec.replace(precision=carried.precision, calibration=carried.calibration)
        record = carried.source
    if record is None:
        record = {"file": source.name, "sha256": sha256_of_file(source), "dialect": "onnx"}
    if output is not None:
        record = {**record, "output": output}
    spec = fresh_spec(
        spec,
        graph=graph_kind(model),
        source=record,
        built_with=built_with("onnx"),
        feature_outputs=None,
    )
    if graph == "conv3d" and spec.graph != "conv3d":
        raise UsageError(
            f"{source} has no 3-D convolutions and cannot get them back; leave --graph out, or "
            "export from the checkpoint"
        )
    require_evaluation_mode(model)
    if output is not None:
        keep_output(model, output)
        drop_unused(model.graph)
    elif carried is not None and carried.feature_outputs is not None:
        drop_feature_outputs(model, carried)
    own_pixels = takes_pixels(model)
    if carried is None:
        if (precision := source_precision(model)) != "fp32":
            spec = spec.replace(precision=precision)
        spec = pixels_taken(spec, pixels)
    layout = input_layout(model, spec, None if carried is None else carried.input.layout)
    if carried is None and pixels is None and not own_pixels:
        require_pixels(found_front(model, spec, layout), spec, source.name)
    result = network_output(model).name
    check_kind(spec, found_kind(model, result))
    clips = verification_clips(spec)
    dtype = INPUT_DTYPES[network_input(model).type.tensor_type.elem_type]
    answers, shape = foreign_outputs(source, foreign_input(clips, spec, layout, dtype), result)
    shown = class_axis(model, result, input_sizes(layout, spec))
    logits = by_class(answers, spec.outputs, result, shown)
    doubt = mean_doubt(source.name, answers.shape, spec.outputs)
    if doubt is not None and doubt not in warnings_of(spec):  # else `build` has told it
        _log.warning("%s", doubt)
        spec = warned(spec, [doubt])
    adapt(model, spec, batch, shape=shape, layout=layout, shown=shown)
    if graph == "conv2d":
        model, spec = conv2d_from_conv3d(model), spec.replace(graph="conv2d")
    return write_verified(model, spec, path, clips, logits, "onnx")


def _check_open_batch(batch: Batch | None, graph: str | None) -> None:
    """Make sure that a form can have an open batch axis."""
    if batch == DYNAMIC and graph == "conv2d":
        raise UsageError(
            "the form without 3-D convolutions needs a fixed batch; leave out --batch dynamic, or "
            "--graph conv2d"
        )


def check_is_spec(spec: object) -> None:
    """Raise SpecError unless `spec` is a ModelSpec."""
    if not isinstance(spec, ModelSpec):
        raise SpecError(
            f"the spec is a {type(spec).__name__}; give a ModelSpec, such as "
            "ModelSpec.from_file(path) or preset(name).spec(name=...)"
        )


def write_verified(
    model: onnx.ModelProto,
    spec: ModelSpec,
    path: str | Path,
    clips: np.ndarray,
    logits: np.ndarray,
    reference: str,
    activations: Activations | None = None,
) -> ModelSpec:
    """Compare a model with its source; write it, with the record in its spec, and a sidecar.

    Args:
        model: the ONNX model; its metadata is changed.
        spec: contract of the artifact.
        path: the .onnx file to write.
        clips: uint8 (N, T, H, W, 3) that the source was shown.
        logits: outputs of the source, (N, classes).
        reference: name of the source, see `verify_onnx`.
        activations: named tensors of the source, see `verify_onnx`.

    Raises:
        SpecError: the source's outputs are not of the kind that the spec says.
        ModelError: the model has an operator that is not ONNX's, does not run, or is larger than
            the 2 GiB of one file.
        ParityError: the model's outputs differ from the source's; nothing is written.
        OutputError: `path` cannot be written.
    """
    check_kind(spec, found_kind(model, spec.output.name))
    check_scores(spec, logits)
    require_ops(model, "onnx")
    found = verify_onnx(
        onnx_bytes(model), spec, clips, logits, reference=reference, activations=activations
    )
    spec = spec.replace(parity=found)
    embed_spec(model, spec)
    write_artifact(Path(path), spec, onnx_bytes(model))
    return spec


def write_with_spec(
    draft: Path, spec: ModelSpec, path: Path, parts: Mapping[str, bytes] | None = None
) -> None:
    """Write the ONNX artifact `draft` to `path`, with another spec, its sidecar and its parts.

    Raises:
        OutputError: `path` cannot be written.
    """
    if embedded_spec(draft) == spec:
        content = draft.read_bytes()
    else:
        model = load_onnx(draft)
        embed_spec(model, spec)
        content = onnx_bytes(model)
    write_artifact(path, spec, content, parts=parts)


def write_with_features(draft: Path, spec: ModelSpec, path: Path) -> ModelSpec:
    """Write the ONNX artifact `draft` to `path` with further outputs; return its new spec.

    Raises:
        ModelError, ParityError: see `with_feature_outputs`.
        OutputError: `path` cannot be written.
    """
    model = load_onnx(draft)
    spec = with_feature_outputs(model, spec)
    embed_spec(model, spec)
    write_artifact(path, spec, onnx_bytes(model))
    return spec


def onnx_bytes(model: onnx.ModelProto) -> bytes:
    """Return the content of an ONNX file; the same model gives the same bytes.

    Raises:
        ModelError: it does not fit into one file.
    """
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except Exception as error:  # ValueError, or protobuf's own, by its version
        raise ModelError(
            f"the model does not fit into one ONNX file ({error}); its weights may have 2 GiB "
            "at most"
        ) from error
