"""The contract of an export: a spec made from preset, spec file, source and changes."""

from __future__ import annotations

import dataclasses
import os
import reprlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export.checkpoints.carried import CarriedRecipe
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.labels import read_labels
from r2p_edge.export.presets import PRESETS, fitting_presets, preset, presets_of
from r2p_edge.export.published.registry import PublishedWeights
from r2p_edge.export.published.store import WeightsStore
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.spec import InputSpec, ModelSpec, OutputKind, OutputSpec

_BUNDLED = "motion"  # name of the bundled model, and of its preset
_MAX_NAME = 100  # characters; what is appended to it still fits into any file name


class WeightsFacts(NamedTuple):
    """Facts that a checkpoint states before anything is built from it.

    Attributes:
        family: name of the family of its network, in `checkpoints.families.FAMILIES`.
        classes: number of outputs.
        sha256: of the file.
        carried: what the training script saved of its recipe.
    """

    family: str
    classes: int
    sha256: str
    carried: CarriedRecipe

    @property
    def own_labels(self) -> tuple[str, ...] | None:
        """Names of the classes that the file carries, if there is one for each output."""
        names = self.carried.labels
        return names if names is not None and len(names) == self.classes else None


class SourceModel(NamedTuple):
    """The model that is exported.

    Attributes:
        path: file of a checkpoint or ONNX model.
        bundled: whether it is the bundled model.
        carried: spec that an ONNX artifact carries; None for every other file.
        weights: how the weights of a checkpoint are to be read.
        published: what the registry says of it, where an ID was given.
    """

    path: Path
    bundled: bool
    carried: ModelSpec | None
    weights: WeightsOptions
    published: PublishedWeights | None = None


def find_source(
    source: str | Path,
    weights: WeightsOptions | None = None,
    store: WeightsStore | None = None,
) -> SourceModel:
    """Return the model with a path, of an ID of published weights, or the bundled one for "motion".

    Args:
        source: path, ID or "motion"; a file that is there is a path.
        weights: options of reading a checkpoint.
        store: where published weights are; by default `WeightsStore()`.

    Raises:
        UsageError: the options are about a checkpoint, and this is an ONNX file.
        ModelNotFoundError: there is no such file.
        SpecError: the spec of an ONNX artifact is damaged.
    """
    bundled = str(source) == _BUNDLED
    path = Path(source)
    if bundled:
        path = _bundled_file()
    if os.path.isdir(path):
        raise ModelNotFoundError(f"{path} is a folder; give the checkpoint or ONNX file in it")
    weights, published = weights or WeightsOptions(), None
    if not os.path.isfile(path):
        store = store or WeightsStore()
        if (published := store.registry.get(str(source))) is None:
            raise ModelNotFoundError(
                f"there is no model {path}; check the path, or use 'motion', or an ID that "
                "r2p-edge weights list has"
            )
        path = store.open_for_export(published).path
        family = published.family
        weights = weights._replace(
            id=published.id, hints=weights.hints if family is None else (family,)
        )
    suffix = path.suffix.lower()
    if suffix == ".onnx" and any(weights._replace(hints=(), id=None)):
        raise UsageError(
            f"{path} is an ONNX file, which has one set of weights and says what it computes; "
            "leave weights_key, family, bn_eps, head and head_activation out"
        )
    if suffix != ".onnx" and any(suffix in row.suffixes for row in RUNTIMES.values()):
        raise ModelError(
            f"{path} is a model that was built for one runtime, and no other is made from it; give "
            "the checkpoint or the ONNX file that it was made from"
        )
    return SourceModel(
        path, bundled, embedded_spec(path) if suffix == ".onnx" else None, weights, published
    )


def _bundled_file() -> Path:
    return Path(str(resources.files("r2p_edge") / "assets" / "motion.safetensors"))


def is_bundled(source: SourceModel, facts: WeightsFacts | None) -> bool:
    """Return whether these are the bundled model's weights, under whatever name."""
    if facts is None:
        return False
    return source.bundled or facts.sha256 == sha256_of_file(_bundled_file())


def facts_of(source: SourceModel) -> WeightsFacts | None:
    """Return what a checkpoint says; None for an ONNX model, which has no family.

    Raises:
        CheckpointError: see `read_checkpoint`, and `canonical_parameters`.
    """
    if source.path.suffix.lower() == ".onnx":
        return None
    read = read_checkpoint(source.path, source.weights.key)
    named = source.weights.named(read)
    return WeightsFacts(named.family.name, named.network().classes, read.sha256, read.carried)


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
) -> ModelSpec:
    """Return the spec that the artifacts of a model are to have.

    Args:
        source, facts: the model, and what it says; published weights bring preset and frames.
        preset_name, spec, labels, name, size, input, output_kind: see `build.build`.
        clip: fields of `ClipSpec` that the caller changes; None leaves one as it is.

    Raises:
        UsageError: nothing says how the model was trained, both a preset and a spec do, a change
            is impossible, or the name cannot be part of a file name.
        CheckpointError, ModelError: the model is needed for the message and cannot be read.
        SpecError: the spec or the labels cannot be read.
    """
    if source.bundled and preset_name is None and spec is None:
        preset_name = _BUNDLED
    if source.published is not None and spec is None:
        preset_name = preset_name or source.published.preset
        if clip.get("frames") is None:
            clip = {**clip, "frames": source.published.frames}
    names = None if labels is None else read_labels(labels)
    own = None if facts is None else facts.own_labels
    contract = _chosen(source, facts, preset_name, spec, names or own)
    if facts is not None and preset_name is not None:
        contract = with_carried(contract, facts)
    contract = _changed(contract, clip, size, input)
    if names is not None:
        contract = contract.replace(labels=names)
    if spec is None and output_kind is None:
        output_kind = _presumed_kind(source, contract)
    if output_kind is not None:
        contract = contract.replace(output=OutputSpec(contract.output.name, output_kind))
    carried = source.carried
    if carried is None or contract.replace(input=carried.input) != carried:
        contract = contract.replace(checks=None)  # which are about another contract
    if name is None and spec is None and not source.bundled:
        name = source.path.stem if source.carried is None else source.carried.name
    return contract.replace(name=_file_name(contract.name if name is None else name))


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
    raise UsageError(f"{source.path} {_advice(source, facts)}")


def _presumed_kind(source: SourceModel, contract: ModelSpec) -> OutputKind:
    """Return the kind of a model's outputs where the caller does not say it."""
    if source.carried is not None:
        return source.carried.output.kind
    found = None
    if source.path.suffix.lower() == ".onnx":
        from r2p_edge.export.graph.foreign import found_kind
        from r2p_edge.export.graph.model import load_onnx, network_output

        model = load_onnx(source.path)
        found = found_kind(model, network_output(model).name)
    if len(contract.labels) == 1 and found != "sigmoid":
        return "values"  # a single class would always have 100 %
    return found or contract.output.kind


def _advice(source: SourceModel, facts: WeightsFacts | None) -> str:
    """Return how many classes a model has, and which presets may be its own."""
    if facts is None:
        from r2p_edge.export.graph.model import load_onnx, network_sizes

        classes, frames, size = network_sizes(load_onnx(source.path))
        fitting = fitting_presets(classes, frames=frames, size=size) if classes else list(PRESETS)
        return (
            f"has {classes or 'an open number of'} classes but does not say how it was trained; "
            "give --preset"
            + (
                f" ({', '.join(fitting)} fit)"
                if fitting
                else f" of {', '.join(PRESETS)} with --labels"
            )
            + " or --spec"
        )
    text = f"has {facts.classes} classes and the names of {facts.family}'s networks, but does not "
    text += "say how it was trained; give "
    own = presets_of(facts.family)
    exact = [item.name for item in own if item.classes == facts.classes]
    if is_bundled(source, facts):
        exact = [_BUNDLED]
    if exact:
        return text + f"--preset {' or '.join(exact)}, or --spec"
    if own:
        names = " or ".join(item.name for item in own)
        return text + f"--preset {names} with --labels of its {facts.classes} classes, or --spec"
    return text + "--spec, as no preset is known for that family"


def with_carried(contract: ModelSpec, facts: WeightsFacts) -> ModelSpec:
    """Return a preset's contract with the class names, mean and std that a checkpoint carries."""
    carried = facts.carried
    if facts.own_labels is not None:
        contract = contract.replace(labels=facts.own_labels)
    if carried.mean is not None and carried.std is not None:
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
