"""A target of an export: its facts, what its builder is given, and what it gives back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from r2p_edge.spec import ModelSpec

if TYPE_CHECKING:  # it brings in the runtimes, and the command line lists the targets
    from r2p_edge.export.form_maker import PerFrameMaker
    from r2p_edge.export.verify.parity import ParityReference
    from r2p_edge.export.verify.per_frame_run import PerFrameRun

GraphForm = Literal["conv3d", "conv2d"]
"""Form of a network: with 3-D convolutions, or the exact form without them."""

StepProgress = Callable[[str], None]
"""Called with the step that long work has reached."""


@dataclass(frozen=True)
class Kit:
    """Facts of a target's kits; see `kit.py`.

    Attributes:
        tool: the tool that the device needs, as its user knows it; build.py names it.
        builder: "module:function" in this package, imported on the device, where there is numpy
            but neither onnx nor `r2p_edge.calibration`. The function takes (ONNX file, path of
            the artifact, its planned spec, `ParityReference`), finds further files of the kit
            beside the ONNX file, writes the artifact and its sidecar, and returns its spec.
    """

    tool: str
    builder: str

    def build(
        self, model: Path, path: Path, planned: ModelSpec, reference: ParityReference
    ) -> ModelSpec:
        """Build the artifact of a kit on the device; return its spec.

        Raises:
            R2PError: the artifact cannot be built, written or verified.
        """
        spec: ModelSpec = _function(self.builder)(model, path, planned, reference)
        return spec


@dataclass(frozen=True)
class Target:
    """A runtime or device that artifacts are built for; a row of `table.TABLE`.

    Attributes:
        name: as `r2p-edge export --to` spells it.
        builder: "module:function" in this package, imported when the target is built. The
            function takes (`OnnxForm`, output folder, `TargetOptions`) and returns `Built`.
        precisions: precisions that the target can be built in.
        graph: form of the network that the target runs best.
        second: form to build where the target's tool refuses that one.
        input: dtype of the model's input that the target is known to take.
        quantized: origin of int8: Q/DQ nodes in the ONNX file, written for the "cpu" or for
            "tensorrt"; or the target's own "tool", which calibrates on clips. None without int8.
        max_clips: most clips that the target's own tool is given; None for any number.
        kit: the way in which the device builds the artifact where this machine lacks the tool;
            None for a target without kits.
        chips: names of the chips that a build can be limited to; none for a target that takes
            what is here.
        open_batch: whether the target takes a model whose batch axis is open.
        further: whether its artifacts can have further outputs, see `spec.further`.
        simulated: whether a simulator on the machine that builds runs its artifacts.
        stateful: forms with state that its artifacts can have beside them; see `PerFrameSpec`.
    """

    name: str
    builder: str
    precisions: tuple[str, ...]
    graph: GraphForm = "conv3d"
    second: GraphForm | None = None
    input: Literal["uint8", "float32"] = "uint8"
    quantized: Literal["cpu", "tensorrt", "tool"] | None = None
    max_clips: int | None = None
    kit: Kit | None = None
    chips: tuple[str, ...] = ()
    open_batch: bool = False
    further: bool = False
    simulated: bool = False
    stateful: tuple[str, ...] = ()

    def build(self, source: OnnxForm, out: Path, options: TargetOptions) -> Built:
        """Build the artifact of this target, or a kit, into the folder `out`.

        Raises:
            R2PError: the artifact cannot be built, written or verified.
        """
        built: Built = _function(self.builder)(source, out, options)
        return built


def _function(name: str) -> Any:
    """Return the function that a row names, "module:function" in this package."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), function)


class OnnxForm(NamedTuple):
    """An ONNX artifact that a target is built from.

    Attributes:
        path: the .onnx file.
        spec: its contract.
        fp32: the fp32 file that a Q/DQ form was made from; None for a form that is not quantized.
        second: writes the target's second form; None where it has none or the caller chose a form.
    """

    path: Path
    spec: ModelSpec
    fp32: Path | None = None
    second: Callable[[], OnnxForm] | None = None


@dataclass(frozen=True)
class TargetOptions:
    """Options of one build.

    Attributes:
        target: name of the target that the user asked for.
        precision: precision that the user asked for; None for that of the source.
        quantizer: maker of int8; None unless `precision` is "int8".
        workspace: bytes of GPU memory that TensorRT's kernels may use.
        timing_cache: folder of TensorRT's timing caches.
        chips: chips to build for, of those that the target has; none for its default.
        progress: called with the step that long work has reached.
        form: maker of the form with state; None without one.
    """

    target: str
    precision: Literal["fp32", "fp16", "int8"] | None = None
    quantizer: Quantizer | None = None
    workspace: int | None = None
    timing_cache: Path | None = None
    chips: tuple[str, ...] = ()
    progress: StepProgress | None = None
    form: PerFrameMaker | None = None


@dataclass(frozen=True)
class Built:
    """An artifact that was built.

    Attributes:
        target: name of its target.
        path: its file; the folder of a kit.
        spec: its contract, with the record of parity.
        status: "built"; or "kit" where the target's tool is not installed here, see `kit.py`.
    """

    target: str
    path: Path
    spec: ModelSpec
    status: Literal["built", "kit"] = "built"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, as `r2p-edge export --json` prints them."""
        return {
            "target": self.target,
            "precision": self.spec.precision,
            "graph": self.spec.graph,
            "status": self.status,
            "path": str(self.path),
            "parity": self.spec.to_dict()["parity"],
            **({"accuracy": self.spec.to_dict()["accuracy"]} if self.spec.accuracy else {}),
            **({} if self.spec.per_frame is None else {"per_frame": self._form()}),
        }

    def _form(self) -> dict[str, Any]:
        """Return the record of the form with state, without its table of rings."""
        record: dict[str, Any] = self.spec.to_dict()["per_frame"]
        return {name: value for name, value in record.items() if name != "rings"}


class ToolClips(NamedTuple):
    """Clips for a tool that calibrates by itself.

    Attributes:
        pixels: uint8 (N, T, H, W, 3).
        method: rule for the ranges of activations: "minmax", "percentile" or "entropy".
        record: origin of the clips, for the artifact's spec.
    """

    pixels: npt.NDArray[np.uint8]
    method: str
    record: Mapping[str, Any]


class Quantizer(Protocol):
    """Maker of the int8 artifacts of one model, all calibrated on the same clips."""

    def qdq(self, source: Path, path: Path, runtime: Literal["cpu", "tensorrt"]) -> ModelSpec:
        """Write the Q/DQ form of the fp32 ONNX artifact `source`; return its spec."""
        ...

    def accuracy(self, source: Path, path: Path, spec: ModelSpec, runtime: str) -> dict[str, Any]:
        """Return the `accuracy` record of an int8 artifact, compared with its fp32 `source`.

        Raises:
            ParityError: int8 loses more top-1 accuracy than the caller allows.
        """
        ...

    def clips(self, target: str) -> ToolClips:
        """Return the clips that the own tool of a target calibrates on."""
        ...

    def store(self, folder: Path) -> list[Path]:
        """Write the manifests of the clips into a folder; return the files."""
        ...


class Calibrator(Protocol):
    """Settings of a calibration; `r2p_edge.calibration.calibrate.Calibration` is one."""

    def quantizer(
        self, spec: ModelSpec, targets: Sequence[Target], progress: StepProgress | None
    ) -> Quantizer:
        """Return the maker of int8 for a model and the targets it is exported to.

        Raises:
            UsageError: the settings do not fit the model or the targets.
            VideoError: the clips cannot be used.
        """
        ...


class FormJudge(Protocol):
    """Measurement of forms with state.

    `r2p_edge.calibration.form_agreement.AgreementJudge` is one.
    """

    def check(self, spec: ModelSpec) -> None:
        """Check that there is something to measure a model's form on.

        Raises:
            UsageError, VideoError: there is not.
        """
        ...

    def measure(
        self,
        run: PerFrameRun,
        answer: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]],
        spec: ModelSpec,
        wait: int,
        progress: StepProgress | None = None,
    ) -> dict[str, Any]:
        """Return the `agreement` record of a form.

        Args:
            run: the form.
            answer: gives the clip model's answer, (classes,), for a clip (T, H, W, 3).
            spec: of the clip model.
            wait: ticks after a window's end at which the form knows all of its positions.
            progress: called with the step that the work has reached.

        Raises:
            ParityError: it agrees too rarely with the clip model.
            VideoError: there is nothing to measure it on.
        """
        ...


def fresh_spec(original: ModelSpec, **changes: Any) -> ModelSpec:
    """Return the spec of a new artifact, without the records about another file.

    `parity`, `accuracy`, `target` and `per_frame` describe one file; `calibration` describes int8
    weights, and `feature_outputs` a graph, and they stay with them.

    Args:
        original: spec of the model that the artifact is made from.
        changes: fields of the new spec.
    """
    own = dict.fromkeys(("parity", "accuracy", "target", "per_frame"))
    spec = original.replace(**{**own, **changes})
    return spec if spec.precision == "int8" else spec.replace(calibration=None)


def file_stem(spec: ModelSpec, chip: str = "") -> str:
    """Return the name of an artifact's file without its suffix."""
    return f"{spec.name}-{spec.precision}" + ("-conv2d" if spec.graph == "conv2d" else "") + chip
