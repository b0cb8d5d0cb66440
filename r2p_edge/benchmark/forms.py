"""The model files of a benchmark: those that are there, and every form that this machine runs."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from r2p_edge import _isolated
from r2p_edge.artifact import Artifact, open_artifact
from r2p_edge.artifact.open import embedded_spec
from r2p_edge.artifact.pair_file import is_pair_file
from r2p_edge.artifact.two_streams import open_model_or_pair
from r2p_edge.benchmark.candidates import Abilities, LeftOut
from r2p_edge.benchmark.clips import ClipSource
from r2p_edge.errors import BackendError, ModelError, R2PError, shown_as
from r2p_edge.info import BrokenModel, inspect_folder
from r2p_edge.runtimes import RUNTIMES

_JUDGED = 12  # clips that an export itself compares int8 with fp32 on


class _Step(NamedTuple):
    """An export of a model's ONNX artifact to targets that one process can build.

    Attributes:
        targets: for each of them, the runtime that it is for.
        precision, graph: see `build`.
    """

    targets: Mapping[str, str]
    precision: str | None = None
    graph: str = "auto"


_OPENVINO = {"openvino": "openvino"}
_CPU = {"onnx": "onnxruntime", **_OPENVINO}
# A library is in a process of its own, as their thread pools disturb each other.
_STEPS = (
    _Step(_OPENVINO),
    _Step(_CPU, graph="conv2d"),
    _Step(_OPENVINO, "fp16"),
    _Step(_CPU, "int8"),
    *(
        _Step({target: runtime}, precision)
        for target, runtime in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx"))
        for precision in (None, "fp16", "int8")
    ),
    _Step({"mindspore": "mindspore"}),
    _Step({"mindspore-lite": "mindspore_lite"}),
)
_NPU = _Step({"openvino-npu": "openvino"}, "fp16")


@dataclass
class Forms:
    """Model files.

    Attributes:
        artifacts: the files.
        of_source: the model that the user named, if it has a per-frame form of its own, which
            is not made for the benchmark.
        left_out: files and forms that are not there, and why.
        made: whether they were made for the benchmark.
        warnings: what speaks against the recipe of a checkpoint.
    """

    artifacts: list[Artifact]
    of_source: Artifact | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    made: bool = False
    warnings: list[str] = field(default_factory=list)


def forms_there(model: str | Path, spec: str | Path | None) -> Forms | None:
    """Return the files that are measured as they are; None where there is something to export.

    These are the artifacts of a folder, two streams, and an artifact that nothing else can be made
    from.

    Args:
        model: what the user named.
        spec: contract of a foreign model.

    Raises:
        ModelError: the folder or the file cannot be used.
    """
    from r2p_edge.export.source import BUNDLED

    path = Path(model)
    if str(model) == BUNDLED:  # whatever lies there under that name
        return None
    if os.path.isdir(path):
        found = inspect_folder(path)
        whole = [each for each in found.models if isinstance(each, Artifact)]
        broken = [each for each in found.models if isinstance(each, BrokenModel)]
        if broken and not whole:
            raise broken[0].error
        if not whole:
            raise ModelError(
                f"{path} has no model file, only kits or a manifest; build the kits on their "
                "device (build.py), and give the folder of the artifacts"
            )
        left_out = [LeftOut(each.path.name, str(each.error)) for each in broken]
        left_out += [
            LeftOut(kit.name, "it is a kit, which its device builds") for kit in found.kits
        ]
        return Forms(whole, left_out=left_out)
    if is_pair_file(path):
        return Forms([open_model_or_pair(path)])
    suffix = path.suffix.lower()
    runs = {suffix for row in RUNTIMES.values() for suffix in row.suffixes}
    if suffix in runs and suffix != ".onnx":
        return Forms([open_artifact(path, spec)])
    if suffix == ".onnx" and importlib.util.find_spec("onnx") is None:
        reason = "onnx, which makes them, is not installed; run: pip install onnx"
        return Forms([open_artifact(path, spec)], left_out=[LeftOut("other forms", reason)])
    return None


class FormMaker:
    """Maker of the forms of a model.

    Args:
        source: see `build`.
        recipe: further arguments of `build`, of plain JSON types.
        out: folder for the artifacts.
        scratch: temporary folder.
    """

    def __init__(
        self, source: str | Path, recipe: Mapping[str, Any], out: Path, scratch: Path
    ) -> None:
        self._source, self._recipe = str(source), dict(recipe)
        self._out, self._scratch = out, scratch
        self.forms = Forms([], made=True)

    def export_onnx(self) -> Artifact:
        """Make the ONNX artifact that the others are made from; return it.

        Raises:
            R2PError: see `build`.
        """
        made = self._export(self._source, targets=["onnx"], **self._recipe)
        self.forms.warnings += made["warnings"]
        self.forms.artifacts.append(open_artifact(made["built"][0]["path"]))
        if Path(self._source).suffix.lower() == ".onnx":
            self.forms.of_source = _with_form(Path(self._source))
        return self.forms.artifacts[0]

    def export_others(
        self,
        here: Mapping[str, Abilities],
        clips: ClipSource,
        videos: str | Path | None,
        progress: Callable[[int, int], None],
    ) -> None:
        """Make the forms for the runtimes that are here; those that fail are left out.

        Args:
            here: the runtimes.
            clips: says how many of the videos int8 is calibrated on.
            videos: folder of videos.
            progress: called after each step with the number done and that of all.
        """
        model = self.forms.artifacts[0]
        steps = []
        for step in _steps(model, here):
            if step.precision == "int8" and clips.calibrated == 0:
                ask = "it is calibrated on videos; give --videos, with a folder for each class"
                self._leave_out(step.targets, step, clips.unlabelled_because or ask)
            else:
                steps.append(step)
        for done, step in enumerate(steps, 1):
            calibration = None
            if step.precision == "int8":
                calibration = {
                    "folder": None if videos is None else str(videos),
                    "num_clips": clips.calibrated,
                    "judged": _JUDGED,
                }
            try:
                made = self._export(
                    str(model.path),
                    targets=list(step.targets),
                    precision=step.precision,
                    graph=step.graph,
                    keep_going=True,
                    calibration=calibration,
                )
            except R2PError as error:
                self._leave_out(step.targets, step, str(error))
            else:
                for built in made["built"]:
                    if built["status"] == "kit":
                        self._leave_out([built["target"]], step, "its converter is not here")
                    else:
                        self._add(Path(built["path"]))
                for target, reason in made["failed"]:
                    self._leave_out([target], step, reason)
            progress(done, len(steps))

    def _export(self, source: str, **options: Any) -> dict[str, Any]:
        arguments = {"source": source, "out": str(self._out), "scratch": str(self._scratch)}
        with shown_as(self._scratch, self._source):
            try:
                made: dict[str, Any] = _isolated.call(
                    f"{__name__}:export_forms", {**arguments, "options": options}
                )
            except _isolated.ProcessFailedError as error:
                raise BackendError(f"{self._source} could not be exported: {error}") from error
        return made

    def _add(self, path: Path) -> None:
        if path not in [each.path for each in self.forms.artifacts]:
            self.forms.artifacts.append(open_artifact(path))

    def _leave_out(self, targets: Iterable[str], step: _Step, reason: str) -> None:
        for target in targets:
            form = " ".join([target, *filter(None, [step.precision])])
            form += " conv2d" if step.graph == "conv2d" else ""
            self.forms.left_out.append(LeftOut(form, reason))


def _with_form(path: Path) -> Artifact | None:
    """Return an ONNX artifact that has a per-frame form; None for any other file."""
    spec = embedded_spec(path)
    return None if spec is None or spec.per_frame is None else open_artifact(path)


def _steps(model: Artifact, here: Mapping[str, Abilities]) -> list[_Step]:
    """Return the exports for the runtimes that are here, with the targets for these alone."""
    devices = here["openvino"].devices if "openvino" in here else {}
    npu = any(name.startswith("npu") for name in devices)
    steps = []
    for step in (*_STEPS, _NPU) if npu else _STEPS:
        targets = {target: name for target, name in step.targets.items() if name in here}
        changes = step.precision is not None or step.graph != "auto"
        if changes and model.spec.precision != "fp32":  # nothing else is made of int8 or fp16
            continue
        if step.graph == "conv2d" and model.spec.graph != "conv3d":
            continue
        if targets:
            steps.append(step._replace(targets=targets))
    return steps


def export_forms(
    report: Callable[[object], None],
    source: str,
    out: str,
    scratch: str,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Export as `build` does; called in a process of its own.

    Args:
        report: not used.
        source, out: see `build`.
        scratch: folder for its temporary files, which its caller removes.
        options: further arguments of `build`; `calibration` is fields of a `Calibration`.

    Returns:
        {"built": [{"path", "target", "status", ...}], "failed": [[target, reason]], "warnings"}.
    """
    from r2p_edge.export.build import build

    tempfile.tempdir = os.environ["TMPDIR"] = scratch
    if options.get("calibration") is not None:
        from r2p_edge.calibration.calibrate import Calibration

        options["calibration"] = Calibration(**options["calibration"])
    made = build(source, out=out, **options)
    return {
        "built": [each.to_dict() for each in made.built],
        "failed": [[target, str(error)] for target, error in made.failed],
        "warnings": made.warnings,
    }
