"""Int8 artifacts from fp32 ONNX ones, measured before they are called good.

`calibrate` makes a single one. `r2p_edge.export.build.build` makes those of its targets by the
settings of a `Calibration`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from r2p_edge.artifact import bundle
from r2p_edge.artifact.atomic import check_folder
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.calibration.accuracy import is_measurement, measure_accuracy, objections
from r2p_edge.calibration.clipset import ClipSet, clips_for
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.calibration.ranges import PASSES, RangeMethod
from r2p_edge.errors import ParityError, UsageError
from r2p_edge.export.targets.base import StepProgress, Target, ToolClips
from r2p_edge.export.targets.onnx import write_with_spec
from r2p_edge.export.targets.table import TABLE
from r2p_edge.spec import ModelSpec

ClipProgress = Callable[[str, int, int], None]
"""Called with the task ("calibrating" or "measuring"), how many clips it has done, at first 0, and
how many it has to do; a clip that it sees twice counts twice."""


@dataclass(frozen=True)
class Calibration:
    """Settings of a calibration.

    Attributes:
        folder, split, num_clips, judged, seed, strict, force: the clips; see `clips_for`.
        method: rule for the ranges of activations: "minmax", "percentile" or "entropy".
        max_drop: points of top-1 accuracy that int8 may lose; None for any number.

    Raises:
        UsageError: `max_drop` is NaN.
    """

    folder: str | Path | None = None
    split: str | Path | None = None
    num_clips: int = 200
    judged: int = 48
    seed: int = 0
    strict: bool = False
    force: bool = False
    method: RangeMethod = "minmax"
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_drop is not None and math.isnan(self.max_drop):
            raise UsageError("max_drop is nan; it must be a number of points of top-1")

    def clips(self, spec: ModelSpec) -> ClipSet:
        """Return the clips for a model.

        Raises:
            UsageError, VideoError: see `clips_for`.
        """
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

    def quantizer(
        self, spec: ModelSpec, targets: Sequence[Target], progress: StepProgress | None
    ) -> ClipQuantizer:
        """Return the maker of int8 for an export; see `Calibrator` in `export.targets.base`."""

        def report(task: str, done: int, total: int) -> None:
            if progress is not None:
                progress(f"{task}, clip {done} of {total}")

        return ClipQuantizer(spec, self, targets, report)


class ClipQuantizer:
    """Maker of the int8 artifacts of one model, all calibrated on the same clips.

    It is the `Quantizer` of `export.targets.base`.

    Args:
        spec: spec of the model.
        settings: clips, method, and the loss that is allowed.
        targets: targets that artifacts are made for.
        progress: see `ClipProgress`.

    Raises:
        UsageError: `max_drop` is given for a target that is measured on the device only; or see
            `clips_for`.
        VideoError: the clips cannot be used.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: Calibration,
        targets: Sequence[Target],
        progress: ClipProgress | None = None,
    ) -> None:
        unmeasured = [t.name for t in targets if not (t.quantized == "cpu" or t.simulated)]
        if unmeasured and settings.max_drop is not None:
            raise UsageError(
                f"the loss of int8 on {', '.join(unmeasured)} can only be measured on the device; "
                "leave max_drop (--max-drop) out, and compare there"
            )
        self._settings = settings
        self._progress = progress or (lambda *_: None)
        counts = {
            t.name: min(settings.num_clips, t.max_clips or settings.num_clips) for t in targets
        }
        # Made before the work, which is long, so that wrong clips are reported first.
        sets = {n: dataclasses.replace(settings, num_clips=n).clips(spec) for n in counts.values()}
        self._sets = {name: sets[count] for name, count in counts.items()}
        self._clips = sets[max(sets)]

    def qdq(self, source: Path, path: Path, runtime: Literal["cpu", "tensorrt"]) -> ModelSpec:
        """Write the Q/DQ form of an fp32 artifact for this machine's CPU or for TensorRT."""
        return self.quantize(source, path, None if runtime == "cpu" else runtime)

    def quantize(self, source: Path, path: Path, profile: str | None) -> ModelSpec:
        """Write the Q/DQ form of an fp32 artifact; see `quantize_onnx`."""
        total, done = self._clips.count * PASSES[self._settings.method], 0
        self._progress("calibrating", done, total)

        def step() -> None:
            nonlocal done
            done += 1
            self._progress("calibrating", done, total)

        return quantize_onnx(
            source,
            path,
            self._clips.calibration,
            method=self._settings.method,
            profile=profile,
            record=self._clips.record,
            progress=step,
        )

    def accuracy(self, source: Path, path: Path, spec: ModelSpec, runtime: str) -> dict[str, Any]:
        """Return the `accuracy` record of an int8 artifact; see `measure_accuracy`.

        Raises:
            ParityError: int8 loses more than `max_drop`.
        """

        def step(done: int, total: int) -> None:
            self._progress("measuring", done, total)

        found = measure_accuracy(source, path, spec, runtime, self._clips, step)
        drop, allowed = 100 * (found["fp32_top1"] - found["top1"]), self._settings.max_drop
        if allowed is not None and drop > allowed:
            raise ParityError(
                f"int8 loses {drop:.1f} points of top-1 on {runtime} ({found['fp32_top1']:.1%} to "
                f"{found['top1']:.1%} on {found['clips']} clips), where --max-drop allows "
                f"{allowed:g}; calibrate on more clips or by another method, or stay float"
            )
        return found

    def clips(self, target: str) -> ToolClips:
        """Return the clips that the own tool of a target calibrates on."""
        clips = self._sets[target]
        pixels = np.stack(list(clips.calibration()))
        return ToolClips(pixels, self._settings.method, clips.record())

    def store(self, folder: Path) -> list[Path]:
        """Write the manifests of the clips into a folder; return the files.

        Raises:
            OutputError: a manifest cannot be written.
        """
        sets = {id(clips): clips for clips in self._sets.values()}
        return [path for clips in sets.values() for path in clips.store(folder)]


def calibrate(
    model: str | Path,
    out: str | Path,
    *,
    calibration: Calibration | None = None,
    profile: str | None = None,
    progress: ClipProgress | None = None,
) -> ModelSpec:
    """Write the int8 form of an fp32 ONNX artifact, measured in ONNX Runtime on this machine.

    The manifest of the clips is stored beside it, and both are added to the manifest of an
    export's folder.

    Args:
        model: the fp32 artifact, an .onnx file with a spec.
        out: the .onnx file to write.
        calibration: settings; by default the clips of the bundled model, for that model alone.
        profile: name in `qdq.PROFILES`; by default that of this machine's CPU.
        progress: see `ClipProgress`.

    Returns:
        The spec as it is in the file.

    Raises:
        UsageError: `out` is `model` itself or does not end in .onnx; or see `clips_for` and
            `quantize_onnx`.
        ModelNotFoundError, ModelError, SpecError: `model` cannot be quantized, see `quantize_onnx`.
        ParityError: int8 loses more than `calibration.max_drop`; nothing is written.
        VideoError: the clips cannot be used.
        BackendError: the installed ONNX Runtime computes int8 wrongly on this CPU.
        OutputError: a file cannot be written.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    model, out = Path(model), Path(out)
    spec = open_artifact(model).spec
    check_folder(out)
    if out.exists() and out.samefile(model):
        raise UsageError(
            f"{out} is the fp32 model itself; name another file, since other int8 models are made "
            "from that one"
        )
    if out.suffix.lower() != ".onnx":
        raise UsageError(f"{out} is to become an ONNX file, whose name must end in .onnx")
    quantizer = ClipQuantizer(spec, calibration or Calibration(), [TABLE["onnx"]], progress)
    with scratch_folder(out) as folder:
        draft = folder / "draft.onnx"
        spec = quantizer.quantize(model, draft, profile)
        spec = spec.replace(accuracy=quantizer.accuracy(model, draft, spec, "onnxruntime"))
        write_with_spec(draft, spec, out)
    stored = quantizer.store(out.parent)
    if bundle.listed(out.parent) is not None:  # of which it may have replaced a file
        bundle.record(out.parent, [out], stored)
    return spec


def warning_of(spec: ModelSpec) -> str | None:
    """Return why an int8 artifact is not recommended, in a sentence; None if it is.

    The accuracy record of another tool, which has other fields, gives None.
    """
    found = spec.accuracy
    if found is None or not is_measurement(found) or found["recommended"]:
        return None
    return f"int8 is not recommended on {found['runtime']}: {', '.join(objections(found))}"
