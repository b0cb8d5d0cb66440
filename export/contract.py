"""The contract of an export: a spec made from preset, spec file, source and changes."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.labels import read_labels
from r2p_edge.export.pixels import Pixels, pixels_taken
from r2p_edge.export.presets import fitting_presets, preset, presets_of
from r2p_edge.export.source import BUNDLED, SourceModel, WeightsFacts, is_bundled
from r2p_edge.export.warned import warned
from r2p_edge.spec import InputSpec, ModelSpec, OutputKind, OutputSpec

if TYPE_CHECKING:  # it brings in onnx
    from r2p_edge.export.onnx_source import OnnxSource

_FEW = 5  # presets in a message
_CANONICAL = "gluoncv"  # family whose names a `training.network.TrainableNetwork` has
WAYS_TO_SAY = "--preset NAME (r2p-edge export --help lists them) with --labels FILE, or --spec FILE"
"""Options that say how a model was trained, for a message."""

_MAX_NAME = 100  # characters; what is appended to it still fits into any file name


def contract_of(
    source: SourceModel,
    facts: WeightsFacts | None,
    *,
    preset_name: str | None,
    spec: ModelSpec | str | Path | None,
    labels: str | Path | None,
    name: str | None,
    clip: Mapping[str, Any],
    size: int | None,
    input: Literal["uint8", "float32"] | None,
    output_kind: OutputKind | None = None,
    pixels: Pixels | None = None,
) -> ModelSpec:
    """Return the spec that the artifacts of a model are to have, with warnings in its `checks`.

    Args:
        source, facts: the model, and what it says; published weights bring preset and frames.
        preset_name, spec, labels, name, size, input, output_kind, pixels: see
            `build.build`.
        clip: fields of `ClipSpec` that the caller changes; None leaves one as it is.

    Raises:
        UsageError: nothing says how the model was trained, both a preset and a spec do, a change
            is impossible, or the name cannot be part of a file name.
        CheckpointError, ModelError: the model is needed for the message and cannot be read.
        SpecError: the spec or the labels cannot be read.
    """
    if source.bundled and preset_name is None and spec is None:
        preset_name = BUNDLED
    if source.published is not None and spec is None:
        preset_name = preset_name or source.published.preset
        if clip.get("frames") is None:
            clip = {**clip, "frames": source.published.frames}
    onnx = _onnx_source(source)
    if onnx is not None and output_kind is None and spec is None and labels is None:
        onnx.kind(None)  # what has to be asked, before the recipe is
    names = None if labels is None else read_labels(labels)
    own = None if facts is None else facts.own_labels
    contract = _chosen(source, facts, onnx, preset_name, spec, names or own)
    if facts is not None and preset_name is not None:
        contract = with_carried(contract, facts)
    contract = _changed(contract, clip, size, input)
    if names is not None:
        contract = contract.replace(labels=names)
    if spec is None and output_kind is None:
        output_kind = _presumed_kind(source, facts, onnx, contract, named=names is not None)
    if output_kind == "features":
        count = contract.output.features if facts is None else facts.classes
        count = count if onnx is None else onnx.sizes.outputs
        contract = _of_features(contract, count, named=names is not None)
    elif output_kind is not None:
        contract = contract.replace(output=OutputSpec(contract.output.name, output_kind))
    warnings: list[str | None] = []
    if onnx is None:
        contract = pixels_taken(contract, pixels)
    else:
        contract, doubt = onnx.pixels(contract, pixels, given=spec is not None)
        warnings = [doubt, onnx.mean_doubt(contract)]
        if output_kind is None:
            warnings.append(onnx.kind_doubt(contract))
    carried = source.carried
    if carried is None or contract.replace(input=carried.input) != carried:
        contract = contract.replace(checks=None)  # which are about another contract
    contract = warned(contract, [each for each in warnings if each is not None])
    if name is None and spec is None and not source.bundled:
        name = source.path.stem if source.carried is None else source.carried.name
    return contract.replace(name=_file_name(contract.name if name is None else name))


def _of_features(contract: ModelSpec, count: int | None, *, named: bool) -> ModelSpec:
    """Return the contract of a model whose answer is so many features."""
    if named:
        raise UsageError(
            "features have no names, and labels were given; leave --labels out, or say what the "
            "numbers are with another --output-kind"
        )
    if count is None:
        raise UsageError(
            "the number of the model's features is open; give --spec with output.features"
        )
    return contract.replace(labels=(), output=OutputSpec(contract.output.name, "features", count))


def check_labels(
    source: SourceModel,
    facts: WeightsFacts | None,
    contract: ModelSpec,
    preset_name: str | None,
    labels: str | Path | None,
) -> None:
    """Make sure that a contract has a label for each class of a checkpoint.

    Args:
        source, facts: the model, and what it says; an ONNX model is looked at later.
        contract: of `contract_of`.
        preset_name, labels: what the caller gave, for the message.

    Raises:
        SpecError: there are more labels, or fewer; or it is of features and the network is not.
    """
    if facts is None:
        return
    if contract.output.kind == "features" and not facts.headless:
        raise SpecError(
            f"{source.path.name} has a classifier, and the contract says that it ends at features; "
            "give --output-kind logits, and --feature-output for features beside the answer"
        )
    if contract.outputs == facts.classes:
        return
    if contract.output.kind == "features":
        raise SpecError(
            f"{source.path.name} ends at {facts.classes} features and output.features is "
            f"{contract.outputs}; correct it"
        )
    whose = f"spec {contract.name}" if preset_name is None else f"preset {preset_name}"
    if labels is not None:
        whose = Path(labels).name
    raise SpecError(
        f"{source.path.name}: {whose} has {_counted(len(contract.labels), 'label', 'labels')} "
        f"and the network {_counted(facts.classes, 'class', 'classes')}; name these with --labels "
        "FILE, one on each line in the order of training"
    )


def check_channels(source: SourceModel, facts: WeightsFacts | None, contract: ModelSpec) -> None:
    """Make sure that a contract has as many channels as a checkpoint's first layer takes.

    Args:
        source, facts, contract: see `check_labels`.

    Raises:
        SpecError: one is of colours and the other of optical flow.
    """
    if facts is None or facts.channels == contract.channels:
        return
    kinds = {2: "optical flow (2 channels)", 3: "colours (3 channels)"}
    raise SpecError(
        f"{source.path.name} takes {kinds[facts.channels]} and the contract is of "
        f"{kinds[contract.channels]}; give --preset or --spec of the kind that it was trained on"
    )


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def with_input(taken: InputSpec, dtype: Literal["uint8", "float32"]) -> InputSpec:
    """Return an input of that dtype, with the layout that goes with it.

    "uint8" is NTHWC with the normalisation in the graph; "float32" is normalised NCTHW.
    """
    uint8 = dtype == "uint8"
    return dataclasses.replace(
        taken,
        dtype=dtype,
        layout="NTHWC" if uint8 else "NCTHW",
        normalized_in_graph=uint8,
    )


def _chosen(
    source: SourceModel,
    facts: WeightsFacts | None,
    onnx: OnnxSource | None,
    preset_name: str | None,
    spec: ModelSpec | str | Path | None,
    labels: Sequence[str] | None,
) -> ModelSpec:
    """Return the spec that the caller chose, else the one that the model carries."""
    if preset_name is not None and spec is not None:
        raise UsageError(
            "both a preset and a spec were given; a spec says everything, so choose one"
        )
    if isinstance(spec, ModelSpec):
        return spec
    if spec is not None:
        return ModelSpec.from_file(spec)
    if preset_name is not None:
        return preset(preset_name).spec(name=preset_name, labels=labels)
    if source.carried is not None:
        return source.carried
    raise UsageError(f"{source.path} {_advice(source, facts, onnx)}")


def _onnx_source(source: SourceModel) -> OnnxSource | None:
    """Return the ONNX model of someone else that a source is; None for another source."""
    if not source.onnx or source.carried is not None:
        return None
    from r2p_edge.export.onnx_source import OnnxSource

    return OnnxSource(source)


def _presumed_kind(
    source: SourceModel,
    facts: WeightsFacts | None,
    onnx: OnnxSource | None,
    contract: ModelSpec,
    *,
    named: bool,
) -> OutputKind:
    """Return the kind of a model's outputs where the caller does not say it, but perhaps names."""
    if source.carried is not None:
        return source.carried.output.kind
    if facts is not None and facts.headless:
        return "values" if named else "features"
    found = None if onnx is None else onnx.kind(len(contract.labels))
    if len(contract.labels) == 1 and found != "sigmoid":
        return "values"  # a single class would always have 100 %
    return found or contract.output.kind


def _advice(source: SourceModel, facts: WeightsFacts | None, onnx: OnnxSource | None) -> str:
    """Return how many classes a model has, and which presets may be its own."""
    untold = "does not say how it was trained"
    if onnx is not None:
        outputs, frames, size = onnx.sizes
        fitting = fitting_presets(outputs, frames=frames, size=size) if outputs else []
        has = f"has {outputs or 'an open number of'} outputs"
        if 0 < len(fitting) <= _FEW:
            return f"{has} and {untold}; give --preset {' or '.join(fitting)}, or --spec FILE"
        return f"{has} and {untold}; give {WAYS_TO_SAY}"
    assert facts is not None
    classes = _counted(facts.classes, "class", "classes")
    text = f"has {classes} and the names of {facts.family}'s networks, but does not "
    text += "say how it was trained; give "
    own = [each for each in presets_of(facts.family) if each.channels == facts.channels]
    exact = [item.name for item in own if item.classes == facts.classes]
    if is_bundled(source, facts):
        exact = [BUNDLED]
    if exact:
        text += f"--preset {' or '.join(exact)}, or --spec"
    elif own:
        names = " or ".join(item.name for item in own)
        text += f"--preset {names} with --labels of its {classes}, or --spec"
    else:
        text += "--spec, as no preset is known for that family"
    if facts.family == _CANONICAL:
        text += (
            "; a network that r2p_edge trained further has the same names, and takes what it was "
            f"trained from: --preset {BUNDLED} --labels FILE for the bundled model"
        )
    return text


def with_carried(contract: ModelSpec, facts: WeightsFacts) -> ModelSpec:
    """Return a preset's contract with the class names, mean and std that a checkpoint carries."""
    carried = facts.carried
    if facts.own_labels is not None:
        contract = contract.replace(labels=facts.own_labels)
    if contract.flow is None and carried.mean is not None and carried.std is not None:
        contract = contract.replace(scale=carried.scale, mean=carried.mean, std=carried.std)
    return contract


def _changed(
    contract: ModelSpec,
    clip: Mapping[str, Any],
    size: int | None,
    input: Literal["uint8", "float32"] | None,
) -> ModelSpec:
    """Return the contract with the caller's own training settings in it."""
    given = {name: value for name, value in clip.items() if value is not None}
    try:
        contract = contract.replace(clip=dataclasses.replace(contract.clip, **given))
        if size is not None:
            contract = _resized(contract, size)
        if input is not None:
            contract = contract.replace(input=with_input(contract.input, input))
    except SpecError as error:
        # The contract was right before: the caller's setting is wrong.
        raise UsageError(str(error)) from error
    return contract


def _resized(contract: ModelSpec, size: int) -> ModelSpec:
    # As published recipes do (128 x 171 for 112, 256 for 224): the resize grows with the crop.
    crop = dataclasses.replace(contract.crop, height=size, width=size)
    factor = size / contract.crop.height
    grown = {
        name: round(value * factor)
        for name in ("height", "width", "size")
        if (value := getattr(contract.resize, name)) is not None
    }
    return contract.replace(crop=crop, resize=dataclasses.replace(contract.resize, **grown))


def _file_name(name: str) -> str:
    """Return `name` if it can be part of a file name."""
    if (
        not name.strip()
        or not name.isprintable()
        or len(name) > _MAX_NAME
        or set(name) & set("/\\")
    ):
        raise UsageError(
            f"the artifact's name is {reprlib.repr(name)}, which cannot be part of a file name; "
            f"give a name of at most {_MAX_NAME} printable characters without slashes"
        )
    return name
