"""`r2p-edge export`: from a source and the way it was trained to artifacts in a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from r2p_edge._files import write_sidecar
from r2p_edge.artifact import METADATA_KEY, onnx_metadata
from r2p_edge.errors import ModelNotFoundError, OutputError, UsageError
from r2p_edge.spec import ModelSpec

from .checkpoint import read_checkpoint
from .dialects import canonical_parameters
from .presets import PRESETS, fitting_presets, read_labels
from .presets import preset as find_preset
from .video_resnet import network_from_parameters

TARGETS = ("onnx",)


@dataclass(frozen=True)
class Built:
    """An artifact that `build` made.

    Attributes:
        target: "onnx".
        path: of the file.
        spec: its contract, with the proof of parity.
    """

    target: str
    path: Path
    spec: ModelSpec

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as `r2p-edge export --json` prints them."""
        return {
            "target": self.target,
            "precision": self.spec.precision,
            "graph": self.spec.graph,
            "status": "built",
            "path": str(self.path),
            "parity": self.spec.to_dict()["parity"],
        }


def build(
    source: str | Path,
    *,
    targets: Sequence[str],
    out: str | Path,
    name: str | None = None,
    preset: str | None = None,
    spec: ModelSpec | str | Path | None = None,
    labels: str | Path | None = None,
    frames: int | None = None,
    interval: int | None = None,
    fps: float | None = None,
    size: int | None = None,
    sampling: Literal["time", "index"] | None = None,
    order: Literal["temporal", "lexicographic"] | None = None,
    input: Literal["uint8", "float32"] | None = None,
    batch: int = 1,
) -> list[Built]:
    """Builds one artifact per target into the folder `out`, each checked against the source.

    Args:
        source: checkpoint (.ckpt, .pth, .pt, .safetensors), .onnx file, or "motion", the bundled
            model.
        targets: of `TARGETS`.
        name: of the artifact; by default the source's.
        preset: of `presets.PRESETS`: how the published model was trained.
        spec: the contract itself, instead of a preset.
        labels: a file of labels; see `presets.read_labels`.
        frames, interval, fps, sampling, order: of the clip; see `ClipSpec`.
        size: side of the crop in pixels; the resize grows in proportion.
        input: "uint8" has the normalisation in the graph, "float32" is NCTHW and has not.
        batch: clips per call.

    Raises:
        UsageError: a target or preset is unknown, or the options contradict each other.
        ModelError: the source cannot be used; see `CheckpointError`, `SpecError`, `ParityError`.
        OutputError: `out` cannot be written.
        MissingDependencyError: a package that the source or target needs is not installed.
    """
    unknown = [target for target in targets if target not in TARGETS]
    if unknown or not targets:
        raise UsageError(
            f"no target {', '.join(unknown) or 'given'}; there is {', '.join(TARGETS)}"
        )
    if batch < 1:
        raise UsageError(f"batch is {batch}; it must be 1 or more")
    bundled = str(source) == "motion"
    if bundled:
        path = Path(str(resources.files("r2p_edge") / "assets" / "motion.safetensors"))
    else:
        path = Path(source)
    if not path.is_file():
        raise ModelNotFoundError(f"there is no model {path}; check the path, or use 'motion'")
    if bundled and preset is None and spec is None:
        preset = "motion"
    changes = {
        "frames": frames, "interval": interval, "fps": fps, "sampling": sampling, "order": order
    }  # fmt: skip
    contract = _contract(path, preset, spec)
    contract = _changed(contract, changes, size, labels, input)
    contract = contract.replace(name=name or (contract.name if spec or bundled else path.stem))

    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be made ({error.strerror}); choose another folder"
        ) from error
    return [_onnx(path, contract, out, batch)]


def _onnx(source: Path, contract: ModelSpec, out: Path, batch: int) -> Built:
    from .to_onnx import onnx_from_checkpoint, onnx_from_onnx

    path = out / f"{contract.name}-{contract.precision}.onnx"
    if source.suffix.lower() == ".onnx":
        final = onnx_from_onnx(source, contract, path)
    else:
        final = onnx_from_checkpoint(source, contract, path, batch=batch)
    write_sidecar(path, final)
    return Built("onnx", path, final)


def _contract(path: Path, preset: str | None, spec: ModelSpec | str | Path | None) -> ModelSpec:
    """The spec that the caller chose, or that the source carries."""
    if preset is not None and spec is not None:
        raise UsageError(
            "both a preset and a spec were given; a spec says everything, so choose one"
        )
    if isinstance(spec, ModelSpec):
        return spec
    if spec is not None:
        return ModelSpec.from_file(spec)
    if preset is not None:
        return find_preset(preset).spec(name=preset)
    if path.suffix.lower() == ".onnx":
        carried = onnx_metadata(path).get(METADATA_KEY)
        if carried is not None:
            return ModelSpec.from_json(carried, where=f"spec in the metadata of {path}")
        raise UsageError(
            f"{path} does not say how it was trained; give --spec, or --preset "
            f"(one of {', '.join(PRESETS)})"
        )
    named = canonical_parameters(read_checkpoint(path).parameters)
    classes = network_from_parameters(named.parameters, named.bn_eps).classes
    fitting = fitting_presets(classes)
    raise UsageError(
        f"{path} has {classes} classes but does not say how it was trained; give --preset"
        + (f" ({', '.join(fitting)} fit)" if fitting else f" of {', '.join(PRESETS)} with --labels")
        + " or --spec"
    )


def _changed(
    contract: ModelSpec,
    clip: dict[str, Any],
    size: int | None,
    labels: str | Path | None,
    input: str | None,
) -> ModelSpec:
    """The contract with the caller's own training settings put in."""
    given = {name: value for name, value in clip.items() if value is not None}
    contract = contract.replace(clip=dataclasses.replace(contract.clip, **given))
    if size is not None:
        # As published recipes do (171 x 128 for 112, 256 for 224): the resize grows with the crop.
        resize, factor = contract.resize, size / contract.crop.height
        grown = {
            name: round(value * factor)
            for name in ("height", "width", "size")
            if (value := getattr(resize, name)) is not None
        }
        contract = contract.replace(
            crop=dataclasses.replace(contract.crop, height=size, width=size),
            resize=dataclasses.replace(resize, **grown),
        )
    if labels is not None:
        contract = contract.replace(labels=read_labels(labels))
    if input is not None:
        changes: dict[str, Any] = {"dtype": "uint8", "layout": "NTHWC", "normalized_in_graph": True}
        if input == "float32":
            changes = {"dtype": "float32", "layout": "NCTHW", "normalized_in_graph": False}
        contract = contract.replace(input=dataclasses.replace(contract.input, **changes))
    return contract
