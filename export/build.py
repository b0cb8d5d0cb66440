"""`r2p-edge export`: from a source and the way it was trained to artifacts in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import reprlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

from r2p_edge.artifact import embedded_spec
from r2p_edge.errors import ModelNotFoundError, OutputError, SpecError, UsageError
from r2p_edge.spec import ModelSpec

from .checkpoint import read_checkpoint
from .dialects import canonical_parameters
from .presets import PRESETS, fitting_presets, read_labels
from .presets import preset as find_preset
from .video_resnet import network_from_parameters


class _Target(NamedTuple):
    suffix: str
    precisions: tuple[str, ...]


_TARGETS = {
    "onnx": _Target(".onnx", ("fp32",)),
    "openvino": _Target(".xml", ("fp32", "fp16")),
}
"""What can be built, and in which precisions; all of them have 3-D convolutions."""

TARGETS = tuple(_TARGETS)

_MAX_NAME = 100  # characters; what is appended to it still fits into any file name


@dataclass(frozen=True)
class Built:
    """An artifact that `build` made.

    Attributes:
        target: of `TARGETS`.
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
    precision: Literal["fp32", "fp16"] | None = None,
    graph: Literal["auto", "conv3d", "conv2d"] = "auto",
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
    batch: int | None = None,
) -> list[Built]:
    """Builds one artifact per target into the folder `out`, each checked against the source.

    Args:
        source: checkpoint (.ckpt, .pth, .pt, .safetensors), .onnx file, or "motion", the bundled
            model.
        targets: of `TARGETS`.
        name: of the artifact and its file; by default that of the spec, or the source's.
        precision: of the artifacts; by default the source's. Not every target has every one.
        graph: "conv2d" is the exact form without 3-D convolutions, for runtimes that have none;
            "auto" keeps what the source has where the target can run it.
        preset: of `presets.PRESETS`: how the published model was trained.
        spec: the contract itself, instead of a preset.
        labels: a file of labels; see `presets.read_labels`.
        frames, interval, fps, sampling, order: of the clip; see `ClipSpec`.
        size: side of the crop in pixels; the resize grows in proportion.
        input: "uint8" has the normalisation in the graph, "float32" is NCTHW and has not.
        batch: clips per call; by default 1, or what an ONNX source has.

    Raises:
        UsageError: a target or preset is unknown, a number is impossible, the name cannot be a
            file's, or the options contradict each other.
        ModelError: the source cannot be used, see `CheckpointError`, `SpecError`, `ParityError`,
            or has an operator that the target lacks.
        OutputError: `out` cannot be written.
        MissingDependencyError: a package that the source or target needs is not installed.
    """
    _check_targets(targets, precision)
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
    carried = embedded_spec(path) if path.suffix.lower() == ".onnx" else None
    contract = _contract(path, preset, spec, carried)
    contract = _changed(contract, changes, size, input)
    if labels is not None:
        contract = contract.replace(labels=read_labels(labels))
    if name is None and spec is None and not bundled:
        name = path.stem if carried is None else carried.name
    contract = contract.replace(name=_file_name(contract.name if name is None else name))

    out = Path(out)
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be made ({error.strerror}); choose another folder"
        ) from error
    try:
        with tempfile.TemporaryDirectory() as scratch:
            # Every other target is built from the ONNX file, which only "onnx" keeps.
            folder = out if "onnx" in targets else Path(scratch)
            onnx = _onnx(path, contract, folder, batch, graph)
            return [
                onnx if target == "onnx" else _openvino(onnx, out, precision)
                for target in dict.fromkeys(targets)
            ]
    except BaseException:
        if made:
            with contextlib.suppress(OSError):  # not empty, so not ours alone
                out.rmdir()
        raise


def _check_targets(targets: Sequence[str], precision: str | None) -> None:
    unknown = [target for target in targets if target not in _TARGETS]
    if unknown or not targets:
        raise UsageError(
            f"no target {', '.join(unknown) or 'given'}; there is {', '.join(TARGETS)}"
        )
    for target in targets:
        has = _TARGETS[target].precisions
        if precision is not None and precision not in has:
            raise UsageError(f"{target} has no precision {precision}; it has {', '.join(has)}")


def _file_name(name: str) -> str:
    """`name`, if a file in the output folder can be called so."""
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


def _onnx(
    source: Path,
    contract: ModelSpec,
    out: Path,
    batch: int | None,
    graph: Literal["auto", "conv3d", "conv2d"],
) -> Built:
    from .foreign import graph_kind, load
    from .to_onnx import onnx_from_checkpoint, onnx_from_onnx

    wanted = None if graph == "auto" else graph
    foreign = source.suffix.lower() == ".onnx"
    kept = graph_kind(load(source)) if foreign else "conv3d"
    path = out / f"{_stem(contract.replace(graph=wanted or kept))}.onnx"
    if foreign:
        final = onnx_from_onnx(source, contract, path, batch=batch, graph=wanted)
    else:
        batch = 1 if batch is None else batch
        final = onnx_from_checkpoint(source, contract, path, batch=batch, graph=wanted or "conv3d")
    return Built("onnx", path, final)


def _openvino(onnx: Built, out: Path, precision: Literal["fp32", "fp16"] | None) -> Built:
    from .to_openvino import openvino_from_onnx

    planned = onnx.spec.replace(precision=precision or onnx.spec.precision)
    path = out / f"{_stem(planned)}.xml"
    final = openvino_from_onnx(onnx.path, path, precision=precision)
    return Built("openvino", path, final)


def _stem(spec: ModelSpec) -> str:
    """Of an artifact's file name."""
    return f"{spec.name}-{spec.precision}" + ("-conv2d" if spec.graph == "conv2d" else "")


def _contract(
    path: Path, preset: str | None, spec: ModelSpec | str | Path | None, carried: ModelSpec | None
) -> ModelSpec:
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
    if carried is not None:
        return carried
    classes, frames, size = _sizes(path)
    fitting = fitting_presets(classes, frames=frames, size=size) if classes else list(PRESETS)
    raise UsageError(
        f"{path} has {classes or 'an open number of'} classes but does not say how it was trained; "
        "give --preset"
        + (f" ({', '.join(fitting)} fit)" if fitting else f" of {', '.join(PRESETS)} with --labels")
        + " or --spec"
    )


def _sizes(path: Path) -> tuple[int | None, int | None, tuple[int, int] | None]:
    """Classes, T and (H, W) of a model that says nothing of its training; None for open ones."""
    if path.suffix.lower() == ".onnx":
        from .foreign import load, sizes

        return sizes(load(path))
    named = canonical_parameters(read_checkpoint(path).parameters)
    return network_from_parameters(named.parameters, named.bn_eps).classes, None, None


def _changed(
    contract: ModelSpec, clip: dict[str, Any], size: int | None, input: str | None
) -> ModelSpec:
    """The contract with the caller's own training settings put in."""
    given = {name: value for name, value in clip.items() if value is not None}
    try:
        contract = contract.replace(clip=dataclasses.replace(contract.clip, **given))
        if size is not None:
            contract = _resized(contract, size)
        if input is not None:
            uint8 = input == "uint8"
            taken = dataclasses.replace(
                contract.input,
                dtype="uint8" if uint8 else "float32",
                layout="NTHWC" if uint8 else "NCTHW",
                normalized_in_graph=uint8,
            )
            contract = contract.replace(input=taken)
    except SpecError as error:
        # The contract was right before: it is what the caller gave that is wrong.
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
