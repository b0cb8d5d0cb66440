"""From an fp32 ONNX artifact to int8 ones that are measured: what `export` and `calibrate` call."""

from __future__ import annotations

import itertools
import math
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from r2p_edge.artifact import bundle, open_artifact
from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.calibration.accuracy import judge, objections
from r2p_edge.calibration.clipset import ClipSet
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.calibration.ranges import PASSES, RangeMethod
from r2p_edge.errors import ParityError, UsageError
from r2p_edge.export.build import Calibration as Calibration
from r2p_edge.export.graph.builder import embed_spec
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.runtimes.cpu import read_cpu
from r2p_edge.spec import ModelSpec


def profile_of_this_cpu() -> str:
    """The profile for ONNX Runtime and OpenVINO on this machine; see `qdq.PROFILES`."""
    if platform.machine() in ("aarch64", "arm64"):
        return "arm"
    return "cpu-avx2" if read_cpu().int8 == "saturating" else "cpu"


class Quantizer:
    """Makes int8 forms of fp32 artifacts on the same clips, and measures them.

    Args:
        clips: what to calibrate and compare on.
        method, progress: see `quantize_onnx`.
        max_drop: points of top-1 that int8 may cost; None for any.

    Raises:
        UsageError: `max_drop` is NaN.
    """

    def __init__(
        self,
        clips: ClipSet,
        *,
        method: RangeMethod = "minmax",
        max_drop: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        if max_drop is not None and math.isnan(max_drop):
            raise UsageError("max_drop is nan; it is a number of points of top-1")
        self.clips, self._method, self._max_drop = clips, method, max_drop
        self._progress = progress

    def qdq(self, source: Path, path: Path, profile: str) -> ModelSpec:
        """Writes the Q/DQ form of an fp32 artifact; see `quantize_onnx`."""
        return quantize_onnx(
            source,
            path,
            self.clips.calibration,
            method=self._method,
            profile=profile,
            record=self.clips.record,
            progress=self._progress,
        )

    def accuracy(self, source: Path, path: Path, spec: ModelSpec, runtime: str) -> dict[str, Any]:
        """The `accuracy` record of an int8 artifact's spec; see `judge`.

        Raises:
            ParityError: it costs more than `max_drop`.
        """
        found = judge(source, path, spec, runtime, self.clips)
        drop = 100 * (found["fp32_top1"] - found["top1"])
        if self._max_drop is not None and drop > self._max_drop:
            raise ParityError(
                f"int8 costs {drop:.1f} points of top-1 on {runtime} ({found['fp32_top1']:.1%} to "
                f"{found['top1']:.1%} on {found['clips']} clips), where --max-drop allows "
                f"{self._max_drop:g}; calibrate on more clips or by another method, or stay float"
            )
        return found

    def onnx(self, source: Path, path: Path, profile: str) -> ModelSpec:
        """Writes the Q/DQ form with its accuracy and latency in ONNX Runtime in its spec.

        Raises:
            UsageError: `path` does not end in .onnx. See `quantize_onnx` and `accuracy`, too.
        """
        if path.suffix.lower() != ".onnx":
            raise UsageError(f"{path} is to become an ONNX file, whose name must end in .onnx")
        check_folder(path)
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / "draft.onnx"
            return self.measured(source, draft, self.qdq(source, draft, profile), path)

    def measured(self, source: Path, draft: Path, spec: ModelSpec, path: Path) -> ModelSpec:
        """Writes a Q/DQ form that is there with its accuracy; see `onnx`."""
        spec = spec.replace(accuracy=self.accuracy(source, draft, spec, "onnxruntime"))
        model = load_onnx(draft)
        embed_spec(model, spec)
        atomic_write(path, model.SerializeToString(deterministic=True))
        write_sidecar(path, spec)
        return spec


def calibrate(
    model: str | Path,
    out: str | Path,
    *,
    calibration: Calibration | None = None,
    profile: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ModelSpec:
    """Turn an fp32 ONNX artifact into an int8 one that is measured against it.

    The manifest of the clips is written beside it, and a manifest of the folder is kept up to date.

    Args:
        model: the fp32 artifact.
        out: the .onnx file to write.
        calibration: settings; by default clips of the bundled model, for that model alone.
        profile: name in `quantize.PROFILES`; by default that of this machine's CPU.
        progress: called after each clip that was run with the number of them, and of all runs.

    Returns:
        The spec of the int8 artifact.

    Raises:
        UsageError: an argument is wrong in itself, or `out` is the model.
        VideoError: the folder or the list cannot be used.
        ModelError: the model cannot be used, or int8 loses more than `calibration.max_drop`.
        OutputError: `out` cannot be written.
    """
    model, out = Path(model), Path(out)
    spec = open_artifact(model).spec
    check_folder(out)
    if out.exists() and out.samefile(model):
        raise UsageError(
            f"{out} is the fp32 model itself; name another file, since other int8 models are made "
            "from that one"
        )
    wanted = calibration or Calibration()
    clips = wanted.clips(spec)
    done, total = itertools.count(1), clips.count * PASSES[wanted.method]

    def step() -> None:
        if progress is not None:
            progress(next(done), total)

    quantizer = Quantizer(clips, method=wanted.method, max_drop=wanted.max_drop, progress=step)
    spec = quantizer.onnx(model, out, profile or profile_of_this_cpu())
    stored = clips.store(out.parent)
    if bundle.listed(out.parent) is not None:  # `out` may have replaced one of its files
        bundle.record(out.parent, [out], stored)
    return spec


def warning_of(spec: ModelSpec) -> str | None:
    """What to tell of an int8 artifact that is not worth recommending, in a sentence."""
    found = spec.accuracy
    if found is None or found["recommended"]:
        return None
    return f"int8 is not recommended on {found['runtime']}: {', '.join(objections(found))}"
