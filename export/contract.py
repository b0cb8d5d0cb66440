"""The contract of an export: a spec made from preset, spec file, source and changes."""

from __future__ import annotations

import dataclasses
import os
import reprlib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r2p_edge.artifact.open import embedded_spec
from r2p_edge.errors import ModelError, ModelNotFoundError, SpecError, UsageError
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.checkpoints.weights import WeightsOptions
from r2p_edge.export.labels import read_labels
from r2p_edge.export.presets import PRESETS, fitting_presets, preset
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.spec import InputSpec, ModelSpec

_BUNDLED = "motion"  # name of the bundled model, and of its preset
_MAX_NAME = 100  # characters; what is appended to it still fits into any file name


class SourceModel(NamedTuple):
    """The model that is exported.

    Attributes:
        path: file of a checkpoint or ONNX model.
        bundled: whether it is the bundled model.
        carried: spec that an ONNX artifact carries; None for every other file.
        weights: how the weights of a checkpoint are to be read.
    """

    path: Path
    bundled: bool
    carried: ModelSpec | None
    weights: WeightsOptions


def find_source(source: str | Path, weights: WeightsOptions | None = None) -> SourceModel:
    """Return the model with a path, or the bundled one for "motion".

    Raises:
        UsageError: the options are about a checkpoint, and this is an ONNX file.
        ModelNotFoundError: there is no such file.
        SpecError: the spec of an ONNX artifact is damaged.
    """
    bundled = str(source) == _BUNDLED
    path = Path(source)
    if bundled:
        path = Path(str(resources.files("r2p_edge") / "assets" / "motion.safetensors"))
    if os.path.isdir(path):
        raise ModelNotFoundError(f"{path} is a folder; give the checkpoint or ONNX file in it")
    if not os.path.isfile(path):
        raise ModelNotFoundError(f"there is no model {path}; check the path, or use 'motion'")
    suffix, weights = path.suffix.lower(), weights or WeightsOptions()
    if suffix == ".onnx" and any(weights._replace(hints=())):
        raise UsageError(
            f"{path} is an ONNX file, which has one set of weights and says what it computes; "
            "leave weights_key, family, bn_eps, head and head_activation out"
        )
    if suffix != ".onnx" and any(suffix in row.suffixes for row in RUNTIMES.values()):
        raise ModelError(
            f"{path} is a model that was built for one runtime, and no other is made from it; give "
            "the checkpoint or the ONNX file that it was made from"
        )
    return SourceModel(path, bundled, embedded_spec(path) if suffix == ".onnx" else None, weights)


def contract_of(
    source: SourceModel,
    *,
    preset_name: str | None,
    spec: ModelSpec | str | Path | None,
    labels: str | Path | None,
    name: str | None,
    clip: Mapping[str, Any],
    size: int | None,
    input: Literal["uint8", "float32"] | None,
) -> ModelSpec:
    """Return the spec that the artifacts of a model are to have.

    Args:
        source: the model.
        preset_name, spec, labels, name, size, input: see `build.build`.
        clip: fields of `ClipSpec` that the caller changes; None leaves one as it is.

    Raises:
        UsageError: nothing says how the model was trained, both a preset and a spec do, a change
            is impossible, or the name cannot be part of a file name.
        CheckpointError, ModelError: the model is needed for the message and cannot be read.
        SpecError: the spec or the labels cannot be read.
    """
    if source.bundled and preset_name is None and spec is None:
        preset_name = _BUNDLED
    names = None if labels is None else read_labels(labels)
    contract = _chosen(source, preset_name, spec, names)
    contract = _changed(contract, clip, size, input)
    if names is not None:
        contract = contract.replace(labels=names)
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
    classes, frames, size = _sizes(source)
    fitting = fitting_presets(classes, frames=frames, size=size) if classes else list(PRESETS)
    raise UsageError(
        f"{source.path} has {classes or 'an open number of'} classes but does not say how it was "
        "trained; give --preset"
        + (f" ({', '.join(fitting)} fit)" if fitting else f" of {', '.join(PRESETS)} with --labels")
        + " or --spec"
    )


def _sizes(source: SourceModel) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Return the classes, T and (H, W) that a model's shapes fix; None for open ones."""
    if source.path.suffix.lower() == ".onnx":
        from r2p_edge.export.graph.model import load_onnx, network_sizes

        return network_sizes(load_onnx(source.path))
    named = source.weights.named(read_checkpoint(source.path, source.weights.key))
    return named.network().classes, None, None


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
