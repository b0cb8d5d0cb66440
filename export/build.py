"""`r2p-edge export`: from a source and the way it was trained to artifacts in a folder."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import reprlib
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.errors import (
    MissingDependencyError,
    ModelError,
    ModelNotFoundError,
    OutputError,
    R2PError,
    SpecError,
    UsageError,
)
from r2p_edge.export import TARGETS
from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.network import network_from_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.presets import PRESETS, fitting_presets, read_labels
from r2p_edge.export.presets import preset as find_preset
from r2p_edge.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    from r2p_edge.calibration.calibrate import Quantizer
    from r2p_edge.calibration.clipset import ClipSet

_MAX_NAME = 100  # characters; what is appended to it still fits into any file name


@dataclass(frozen=True)
class Built:
    """An artifact that `build` made.

    Attributes:
        target: of `TARGETS`.
        path: of the file; of the folder where it is a kit.
        spec: its contract, with the proof of parity.
        status: "built"; or "kit" where the target's tool is not here, see `kit.py`.
    """

    target: str
    path: Path
    spec: ModelSpec
    status: Literal["built", "kit"] = "built"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, as `r2p-edge export --json` prints them."""
        return {
            "target": self.target,
            "precision": self.spec.precision,
            "graph": self.spec.graph,
            "status": self.status,
            "path": str(self.path),
            "parity": self.spec.to_dict()["parity"],
            **({"accuracy": self.spec.to_dict()["accuracy"]} if self.spec.accuracy else {}),
        }


def build(
    source: str | Path,
    *,
    targets: Sequence[str],
    out: str | Path,
    name: str | None = None,
    precision: Literal["fp32", "fp16", "int8"] | None = None,
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
    calibration: Calibration | None = None,
    workspace: int | None = None,
    timing_cache: str | Path | None = None,
    progress: Callable[[str], None] | None = None,
    failed: list[tuple[str, R2PError]] | None = None,
) -> list[Built]:
    """Builds one artifact per target into the folder `out`, each checked against the source.

    `out` then has a manifest of all that was built there; see `r2p_edge.artifact.bundle`.

    Args:
        source: checkpoint (.ckpt, .pth, .pt, .safetensors), .onnx file, or "motion", the bundled
            model.
        targets: of `TARGETS`. "mindspore" is MindSpore Lite where that is installed, else the
            framework, else a kit for the former.
        name: of the artifact and its file; by default that of the spec, or the source's.
        precision: of the artifacts; by default the source's. Not every target has every one.
        graph: "conv2d" is the exact form without 3-D convolutions, for runtimes that have none;
            "auto" is what each target runs best.
        preset: of `presets.PRESETS`: how the published model was trained.
        spec: the contract itself, instead of a preset.
        labels: a file of labels; see `presets.read_labels`.
        frames, interval, fps, sampling, order: of the clip; see `ClipSpec`.
        size: side of the crop in pixels; the resize grows in proportion.
        input: "uint8" has the normalisation in the graph, "float32" is NCTHW and has not. By
            default float32 for MindSpore Lite and Ascend, and for the others what the spec says.
        batch: clips per call; by default 1, or what an ONNX source has.
        calibration: for int8; by default that of the bundled model, which no other has.
        workspace, timing_cache: of TensorRT; see `to_tensorrt.tensorrt_from_onnx`.
        progress: called with what long work is doing.
        failed: where given, gets each target that cannot be built, with its error, as long as
            another one can; without it the first error is raised once all were tried.

    Raises:
        UsageError: a target or preset is unknown, a number is impossible, the name cannot be a
            file's, or the options contradict each other.
        ModelError: the source cannot be used, see `CheckpointError`, `SpecError`, `ParityError`,
            or has an operator that the target lacks.
        OutputError: `out` cannot be written.
        MissingDependencyError: a package that the source or target needs is not installed.
    """
    _check_targets(targets, precision)
    engine = {**_engine_options(workspace, timing_cache), "progress": progress}
    bundled = str(source) == "motion"
    if bundled:
        path = Path(str(resources.files("r2p_edge") / "assets" / "motion.safetensors"))
    else:
        path = Path(source)
    if not os.path.isfile(path):
        raise ModelNotFoundError(f"there is no model {path}; check the path, or use 'motion'")
    if bundled and preset is None and spec is None:
        preset = "motion"
    changes = {
        "frames": frames, "interval": interval, "fps": fps, "sampling": sampling, "order": order
    }  # fmt: skip
    carried = embedded_spec(path) if path.suffix.lower() == ".onnx" else None
    if precision == "int8" and carried is not None and carried.precision == "int8":
        raise ModelError(
            f"{path} is int8 already; export it without a precision to have it as it is, or give "
            "the fp32 model that it was made from"
        )
    contract = _contract(path, preset, spec, carried)
    contract = _changed(contract, changes, size, input)
    if labels is not None:
        contract = contract.replace(labels=read_labels(labels))
    if name is None and spec is None and not bundled:
        name = path.stem if carried is None else carried.name
    contract = contract.replace(name=_file_name(contract.name if name is None else name))

    out = Path(out)
    made = not os.path.exists(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{out} cannot be made ({error.strerror}); choose another folder"
        ) from error
    # Long work would end in vain where nothing can be written, or something else has that name.
    check_folder(out / bundle.NAME)
    bundle.listed(out)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            models = _Models(path, contract, batch, graph, input is None, Path(scratch))
            int8 = None
            if precision == "int8":
                _check_measured(targets, calibration)
                wanted = calibration or Calibration()
                int8 = _Int8(contract, wanted, targets, Path(scratch), progress)
            built, errors = {}, []
            # The ONNX file first, because what suits the others too is not made twice.
            for target in sorted(dict.fromkeys(targets), key=lambda target: target != "onnx"):
                try:
                    more = engine if target == "tensorrt" else {}
                    built[target] = _built(target, models, out, precision, int8, **more)
                except R2PError as error:
                    errors.append((target, error))
            if errors and (failed is None or not built):
                raise errors[0][1]
            manifests = [] if int8 is None else int8.store(out)
            bundle.record(out, [artifact.path for artifact in built.values()], manifests)
            if failed is not None:
                failed.extend(errors)
            return [built[target] for target in dict.fromkeys(targets) if target in built]
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


class _Target(NamedTuple):
    """What a target is built by, its precisions, and the graph and input that suit it best.

    Of MindSpore Lite and Ascend nobody has seen yet that they take uint8.
    """

    build: Any
    precisions: tuple[str, ...]
    graph: Literal["conv3d", "conv2d"] = "conv3d"
    input: Literal["uint8", "float32"] = "uint8"


class _Models:
    """The ONNX files that the targets are built from, each in the form that a target wants."""

    def __init__(
        self,
        source: Path,
        contract: ModelSpec,
        batch: int | None,
        graph: Literal["auto", "conv3d", "conv2d"],
        free_input: bool,
        scratch: Path,
    ) -> None:
        self._source, self._contract, self._batch = source, contract, batch
        self._graph, self._scratch = graph, scratch
        self._foreign = source.suffix.lower() == ".onnx"
        self._kept: Literal["conv3d", "conv2d"] | None = "conv3d"
        self._free_input = free_input
        if self._foreign:
            from r2p_edge.export.graph.model import graph_kind, load_onnx, takes_pixels

            model = load_onnx(source)
            self._kept = graph_kind(model)
            # The normalisation that is in a graph stays there.
            self._free_input = free_input and not takes_pixels(model)
        self._made: dict[tuple[str | None, InputSpec], Built] = {}

    def get(self, entry: _Target) -> Built:
        """The file that a target is built from."""
        made = self._made.get(self._key(entry))
        if made is None:
            folder = self._scratch / str(len(self._made))
            folder.mkdir()
            made = self.write(entry, folder)
        return made

    def write(self, entry: _Target, folder: Path) -> Built:
        """Writes it into a folder."""
        from r2p_edge.export.targets.onnx import onnx_from_checkpoint, onnx_from_onnx

        key = kind, taken = self._key(entry)
        contract = self._contract.replace(input=taken)
        path = folder / f"{_stem(contract.replace(graph=kind))}.onnx"
        if self._foreign:
            # What a model has by itself need not be asked for, and None could not be.
            wanted = None if kind == self._kept and self._graph == "auto" else kind
            final = onnx_from_onnx(self._source, contract, path, batch=self._batch, graph=wanted)
        else:
            final = onnx_from_checkpoint(
                self._source,
                contract,
                path,
                batch=1 if self._batch is None else self._batch,
                graph=kind or "conv3d",
            )
        self._made[key] = Built("onnx", path, final)
        return self._made[key]

    def _key(self, entry: _Target) -> tuple[Literal["conv3d", "conv2d"] | None, InputSpec]:
        """Form of the graph and input of what the target is built from."""
        kind = self._kept
        if self._graph != "auto":
            kind = self._graph
        elif entry.graph == "conv2d" and kind == "conv3d":
            kind = "conv2d"
        taken = self._contract.input
        if self._free_input and entry.input == "float32":
            taken = _with_input(taken, "float32")
        return kind, taken


def _resolved(target: str) -> str:
    """ "mindspore" is Lite where its converter is here, else the framework, else a kit for Lite."""
    if target != "mindspore":
        return target
    if importlib.util.find_spec("mindspore_lite"):
        from r2p_edge.export.targets.mindspore_lite.converter import find_converter

        if find_converter() is not None:
            return "mindspore-lite"
    return "mindspore" if importlib.util.find_spec("mindspore") else "mindspore-lite"


def _engine_options(workspace: int | None, timing_cache: str | Path | None) -> dict[str, Any]:
    if workspace is not None and workspace < 1:
        raise UsageError(f"workspace is {workspace} bytes; it must be 1 or more")
    if timing_cache is not None and not os.path.isdir(timing_cache):
        raise UsageError(f"there is no folder {timing_cache} for the timing cache; create it")
    return {"workspace": workspace, "cache": None if timing_cache is None else Path(timing_cache)}


def _built(
    target: str,
    models: _Models,
    out: Path,
    precision: str | None,
    int8: _Int8 | None,
    **options: Any,
) -> Built:
    entry = _TARGETS[_resolved(target)]
    if int8 is not None:
        return int8.built(entry, models.get(entry), out, target, options)
    if target == "onnx":
        return models.write(entry, out)
    artifact: Built = entry.build(models.get(entry), out, target, precision, **options)
    return artifact


class Calibration(NamedTuple):
    """What int8 is made from; see `calibration.clipset.clips_for` and `calibration.int8`.

    Attributes:
        folder, split, num_clips, judged, seed, strict, force: which clips.
        method: "minmax", "percentile" or "entropy".
        max_drop: points of top-1 that it may cost; None for any.
    """

    folder: str | Path | None = None
    split: str | Path | None = None
    num_clips: int = 200
    judged: int = 48
    seed: int = 0
    strict: bool = False
    force: bool = False
    method: Literal["minmax", "percentile", "entropy"] = "minmax"
    max_drop: float | None = None

    def clips(self, spec: ModelSpec) -> ClipSet:
        """The clips for a model; see `clips_for`."""
        from r2p_edge.calibration.clipset import clips_for

        return clips_for(
            spec,
            self.folder,
            self.split,
            num_clips=self.num_clips,
            judged=self.judged,
            seed=self.seed,
            strict=self.strict,
            force=self.force,
        )


def _check_measured(targets: Sequence[str], wanted: Calibration | None) -> None:
    others = [target for target in targets if target not in ("onnx", "openvino")]
    if others and wanted is not None and wanted.max_drop is not None:
        raise UsageError(
            f"what int8 costs on {', '.join(others)} is not known before the device; leave "
            "max_drop (--max-drop) out, and compare there"
        )


class _Int8:
    """The int8 artifacts of an export, all calibrated on the same clips."""

    def __init__(
        self,
        contract: ModelSpec,
        wanted: Calibration,
        targets: Iterable[str],
        scratch: Path,
        progress: Callable[[str], None] | None,
    ) -> None:
        from r2p_edge.calibration.calibrate import profile_of_this_cpu

        self._contract, self._wanted, self._progress = contract, wanted, progress
        self._profile, self._scratch = profile_of_this_cpu(), scratch
        self._sets: dict[int, ClipSet] = {}
        self._made: dict[tuple[Path, str], Built] = {}
        for target in targets:  # what is wrong with the clips is said before the work
            self._clips(target)

    def store(self, out: Path) -> list[Path]:
        """Writes the manifests of the clips that were used; see `ClipSet.store`."""
        return [path for clips in self._sets.values() for path in clips.store(out)]

    def built(
        self, entry: _Target, source: Built, out: Path, target: str, options: dict[str, Any]
    ) -> Built:
        """The artifact of a target.

        Args:
            source: its fp32 ONNX form.
        """
        if target == "onnx":
            qdq = self._qdq(source, self._profile)
            path = out / f"{_stem(qdq.spec)}.onnx"
            final = self._quantizer.measured(source.path, qdq.path, qdq.spec, path)
            return Built(target, path, final)
        if target == "openvino":
            return self._openvino(source, out)
        if target == "tensorrt":
            return _tensorrt(self._qdq(source, "tensorrt"), out, target, None, **options)
        clips = self._clips(target)
        shown = np.stack(list(clips.calibration()))
        plan = {"method": self._wanted.method, "record": clips.record()}
        return _lite(source, out, target, "int8", shown, **plan)

    def _clips(self, target: str) -> ClipSet:
        """What a target is calibrated on: MindSpore Lite on the first of the clips."""
        count = self._wanted.num_clips
        if target not in ("onnx", "openvino", "tensorrt"):
            count = min(count, _LITE_CLIPS)
        if count not in self._sets:
            self._sets[count] = self._wanted._replace(num_clips=count).clips(self._contract)
        return self._sets[count]

    @functools.cached_property
    def _quantizer(self) -> Quantizer:
        from r2p_edge.calibration.calibrate import Quantizer

        counted = itertools.count(1)

        def step() -> None:
            if self._progress is not None:
                self._progress(f"calibrating, clip {next(counted)}")

        return Quantizer(
            self._clips("onnx"),
            method=self._wanted.method,
            max_drop=self._wanted.max_drop,
            progress=step,
        )

    def _openvino(self, source: Built, out: Path) -> Built:
        from r2p_edge.export.targets.openvino import openvino_from_onnx

        qdq = self._qdq(source, self._profile)
        path = out / f"{_stem(qdq.spec)}.xml"

        def accuracy(draft: Path, spec: ModelSpec) -> dict[str, Any]:
            return self._quantizer.accuracy(source.path, draft, spec, "openvino")

        return Built("openvino", path, openvino_from_onnx(qdq.path, path, accuracy=accuracy))

    def _qdq(self, source: Built, profile: str) -> Built:
        key = source.path, profile
        if key not in self._made:
            path = self._scratch / f"qdq{len(self._made)}.onnx"
            self._made[key] = Built("onnx", path, self._quantizer.qdq(source.path, path, profile))
        return self._made[key]


def _openvino(onnx: Built, out: Path, target: str, precision: Any) -> Built:
    from r2p_edge.export.targets.openvino import openvino_from_onnx

    planned = onnx.spec.replace(precision=precision or onnx.spec.precision)
    path = out / f"{_stem(planned)}.xml"
    return Built(target, path, openvino_from_onnx(onnx.path, path, precision=precision))


def _tensorrt(onnx: Built, out: Path, target: str, precision: Any, **options: Any) -> Built:
    from r2p_edge.export.targets.kit import write_kit
    from r2p_edge.export.targets.tensorrt.engine import build_engine, can_build
    from r2p_edge.export.targets.tensorrt.export import models_for, plan_tensorrt
    from r2p_edge.export.verify.parity import parity_reference

    planned = plan_tensorrt(onnx.path, precision)
    path = out / f"{_stem(planned)}.engine"
    proof = parity_reference(onnx.path)
    folder = out / f"{_stem(planned)}-tensorrt-kit"
    with tempfile.TemporaryDirectory() as scratch:
        models = models_for(onnx.path, planned, Path(scratch))
        if can_build():
            return Built(target, path, build_engine(models, path, planned, proof, **options))
        write_kit(models.plain, planned, proof, folder, path.name, models.typed)
    return Built(target, folder, planned, "kit")


def _mindspore(onnx: Built, out: Path, target: str, precision: Any) -> Built:
    from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx

    path = out / f"{_stem(onnx.spec)}.mindir"
    return Built(target, path, mindspore_from_onnx(onnx.path, path))


def _lite(
    onnx: Built, out: Path, target: str, precision: Any, clips: Any = None, **plan: Any
) -> Built:
    from r2p_edge.export.targets.kit import write_kit
    from r2p_edge.export.targets.mindspore_lite.converter import build_lite
    from r2p_edge.export.targets.mindspore_lite.export import plan_lite
    from r2p_edge.export.verify.parity import parity_reference

    device = target if target.startswith("ascend") else "cpu"
    planned = plan_lite(onnx.path, device, "int8" if precision == "int8" else None, **plan)
    name = _stem(planned, "" if device == "cpu" else f"-{device}")
    proof = parity_reference(onnx.path)
    path = out / f"{name}.mindir"
    try:
        final = build_lite(onnx.path, path, planned, proof, device=device, calibration=clips)
    except MissingDependencyError:
        folder = out / f"{name}-{'mindspore-lite-' if device == 'cpu' else ''}kit"
        write_kit(onnx.path, planned, proof, folder, path.name, calibration=clips)
        return Built(target, folder, planned, "kit")
    return Built(target, path, final)


def _stem(spec: ModelSpec, chip: str = "") -> str:
    """Of an artifact's file name."""
    return f"{spec.name}-{spec.precision}" + ("-conv2d" if spec.graph == "conv2d" else "") + chip


_LITE_CLIPS = 32  # to calibrate on: a kit carries them
_LITE = _Target(_lite, ("fp32", "int8"), "conv2d", "float32")
_ASCEND = _Target(_lite, ("fp16",), "conv3d", "float32")
_TARGETS = {
    "onnx": _Target(None, ("fp32", "int8")),
    "openvino": _Target(_openvino, ("fp32", "fp16", "int8")),
    "tensorrt": _Target(_tensorrt, ("fp32", "fp16", "int8")),
    # MindSpore runs 3-D convolutions in two thirds of the time of the other form.
    "mindspore": _Target(_mindspore, ("fp32",)),
    "mindspore-lite": _LITE,
    "ascend310": _ASCEND,
    "ascend310p": _ASCEND,
    "ascend310b": _ASCEND._replace(graph="conv2d"),
}


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
        from r2p_edge.export.graph.model import load_onnx, network_sizes

        return network_sizes(load_onnx(path))
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
            contract = contract.replace(input=_with_input(contract.input, input))
    except SpecError as error:
        # The contract was right before: it is what the caller gave that is wrong.
        raise UsageError(str(error)) from error
    return contract


def _with_input(taken: InputSpec, dtype: str) -> InputSpec:
    uint8 = dtype == "uint8"
    return dataclasses.replace(
        taken,
        dtype="uint8" if uint8 else "float32",
        layout="NTHWC" if uint8 else "NCTHW",
        normalized_in_graph=uint8,
    )


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
