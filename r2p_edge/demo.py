"""The demo: the bundled model from its weights to answers on real video files.

Every step is the one that a user's own model takes: the weights are exported, held-out clips are
written as video files, and each installed runtime reads the files and answers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from r2p_edge._optional import OPENCV, import_library
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.errors import BackendError, OutputError, UsageError
from r2p_edge.predictor import Predictor
from r2p_edge.preprocess import preprocessor
from r2p_edge.runtimes import runtime_type

# The export target that makes the file of each runtime.
_TARGETS = {
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "mindspore_lite": "mindspore-lite",
    "mindspore": "mindspore",
}
_INT8 = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "mindspore_lite")
DemoProgress = Callable[[str, int, int], None]
"""Called with "exporting" and how many of how many artifacts there are, and then with "answering"
and how many of how many videos were answered."""

_CALIBRATED, _JUDGED = 24, 12  # clips; the accuracy of int8 is measured on all others, too


def run_demo(
    out: str | Path, num_clips: int, *, progress: DemoProgress = lambda *_: None
) -> dict[str, Any]:
    """Export the bundled model into `out` and measure it on held-out videos.

    One video of each class stays in `out`/videos; the others are deleted once answered.

    Args:
        out: folder, made if it does not exist.
        num_clips: number of videos.
        progress: see `DemoProgress`.

    Returns:
        {"model", "clips", "classes", "kernel", "results": [{"runtime", "device", "precision",
        "path", "top1", "agreement", "latency_ms": {"p50", "p90", "p99"}}], "left_out":
        [{"runtime", "reason"}]}: top-1 accuracy, agreement with the first result, milliseconds
        from video file to answer, and the runtimes that are not installed or do not work.

    Raises:
        UsageError: `num_clips` is not positive.
        BackendError: no runtime works here. onnxruntime must, as it verifies every export.
        MissingDependencyError: a package that the demo needs is not installed.
        OutputError: `out` cannot be written.
    """
    from r2p_edge.calibration import motion

    if num_clips < 1:
        raise UsageError(f"num_clips is {num_clips}; it must be 1 or more")
    # The clips are drawn with it, whichever kernel preprocesses them.
    import_library("cv2", f"the demo draws with it: {OPENCV}")
    progress("exporting", 0, 1)  # looking for runtimes takes seconds
    usable, left_out = _usable_runtimes()
    made: list[_Made] = []
    wanted: dict[Literal["fp32", "int8"], list[str]] = {
        "fp32": usable,
        "int8": [name for name in usable if name in _INT8],
    }
    total, before = sum(map(len, wanted.values())), 0
    for precision, names in wanted.items():
        if names:
            steps = functools.partial(_tell, progress, before, total)
            built, refused = _build(names, Path(out), precision, steps)
            made += built
            left_out += refused
            before += len(names)
    progress("exporting", total, total)
    if not made:
        raise BackendError("; ".join(left["reason"] for left in left_out))
    with ExitStack() as stack:
        runs = [
            _Run(stack.enter_context(Predictor(path, runtime=name)), path) for name, path in made
        ]
        _answer(runs, Path(out) / "videos", num_clips, progress)
    return {
        "model": "motion",
        "clips": num_clips,
        "classes": len(motion.CLASSES),
        "kernel": "C++" if preprocessor.compiled else "OpenCV and NumPy",
        "results": [run.result(runs[0]) for run in runs],
        "left_out": left_out,
    }


class _Made(NamedTuple):
    """An artifact, and the runtime to run it on."""

    runtime: str
    path: Path


def _usable_runtimes() -> tuple[list[str], list[dict[str, str]]]:
    """Return the names of the runtimes that work here, and why the others are left out."""
    usable, left_out = [], []
    for name in _TARGETS:
        try:
            if runtime_type(name).devices():
                usable.append(name)
            else:
                left_out.append({"runtime": name, "reason": f"{name} finds no device"})
        except BackendError as error:
            left_out.append({"runtime": name, "reason": str(error)})
    if "mindspore_lite" in usable and "mindspore" in usable:
        usable.remove("mindspore")
        left_out.append({"runtime": "mindspore", "reason": "mindspore: mindspore_lite is here"})
    return usable, left_out


def _tell(progress: DemoProgress, before: int, total: int, _: str, done: int, __: int) -> None:
    """Pass on how many artifacts are exported, `before` of them in an earlier export."""
    progress("exporting", before + done, total)


def _build(
    names: list[str],
    out: Path,
    precision: Literal["fp32", "int8"],
    progress: Callable[[str, int, int], None],
) -> tuple[list[_Made], list[dict[str, str]]]:
    """Return an artifact for each of these runtimes, and why the others are left out."""
    from r2p_edge.calibration.calibrate import Calibration
    from r2p_edge.export.build import build

    runtimes = {_TARGETS[name]: name for name in names}
    report = build(
        "motion",
        targets=list(runtimes),
        out=out,
        precision=None if precision == "fp32" else precision,
        calibration=Calibration(num_clips=_CALIBRATED, judged=_JUDGED),
        keep_going=True,
        progress=progress,
    )
    made, left_out = [], []
    for artifact in report.built:
        name = runtimes[artifact.target]
        if artifact.status == "built":
            made.append(_Made(name, artifact.path))
        else:
            left_out.append({"runtime": name, "reason": f"{name} has no converter here"})
    left_out += [
        {"runtime": runtimes[target], "reason": str(error)} for target, error in report.failed
    ]
    return made, left_out


def _answer(runs: list[_Run], folder: Path, num_clips: int, progress: DemoProgress) -> None:
    """Write one video after another into the folder, and let each artifact answer it."""
    from r2p_edge.calibration import motion

    for run in runs:
        run.predictor.warmup()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror}); free it or choose another --out"
        ) from error
    with scratch_folder("a held-out clip") as scratch:
        for number in range(num_clips):
            label = motion.CLASSES[number % len(motion.CLASSES)]
            first = number < len(motion.CLASSES)
            video = folder / f"{label.replace(' ', '-')}.mp4" if first else scratch / "rest.mp4"
            motion.write_video(motion.scene("test", number), video)
            for run in runs:
                run.answer(video, label)
            progress("answering", number + 1, num_clips)


class _Run:
    """One artifact on one runtime, and its answers so far."""

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.predictor, self._path = predictor, path
        self._labels: list[str] = []
        self._right: list[bool] = []
        self._milliseconds: list[float] = []

    def answer(self, video: Path, truth: str) -> None:
        """Answer one video and remember whether it was right, and the time it took."""
        prediction = self.predictor.predict(video)
        self._labels.append(prediction.label)
        self._right.append(prediction.label == truth)
        self._milliseconds.append(prediction.timing.total)

    def result(self, reference: _Run) -> dict[str, Any]:
        """Return the row of `run_demo`'s results, with the agreement with a reference."""
        pairs = zip(self._labels, reference._labels)
        return {
            "runtime": self.predictor.runtime,
            "device": self.predictor.device,
            "precision": self.predictor.precision,
            "path": str(self._path),
            "top1": float(np.mean(self._right)),
            "agreement": float(np.mean([mine == other for mine, other in pairs])),
            "latency_ms": {
                f"p{q}": round(float(np.percentile(self._milliseconds, q)), 2) for q in (50, 90, 99)
            },
        }
