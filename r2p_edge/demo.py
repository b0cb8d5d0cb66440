"""`r2p-edge demo`: the bundled model from its weights to answers on real video files.

Every step is the one that a user's own model takes: the weights are exported, held-out clips are
written as video files, and each installed runtime reads the files and answers.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge.errors import BackendError, MissingDependencyError, OutputError, UsageError
from r2p_edge.predictor import Predictor
from r2p_edge.preprocess import preprocessor
from r2p_edge.runtimes import RUNTIMES, runtime_type

# What each runtime runs by itself.
_TARGETS = {
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "tensorrt": "tensorrt",
    "mindspore_lite": "mindspore-lite",
    "mindspore": "mindspore",
}
_INT8 = ("onnxruntime", "openvino", "tensorrt", "mindspore_lite")
_CALIBRATED, _JUDGED = 24, 12  # clips; what int8 costs is measured on all others, too


def run_demo(out: Path, clips: int) -> dict[str, Any]:
    """Exports the bundled model into `out` and measures it on `clips` held-out videos.

    One video of each class stays in `out`/videos; the others are deleted once answered.

    Returns:
        {"model", "clips", "classes", "kernel", "results": [{"runtime", "device", "precision",
        "path", "top1", "agreement", "latency_ms": {"p50", "p90", "p99"}}], "left_out":
        [{"runtime", "reason"}]}: top1 against the truth, agreement with the first result, latency
        from video file to answer, and the runtimes that are not installed or do not work.

    Raises:
        UsageError: `clips` is not positive.
        BackendError: no runtime works here; onnxruntime must, because every export is proven on it.
        MissingDependencyError: a package that the demo needs is not installed.
        OutputError: `out` cannot be written.
    """
    from rich.console import Console
    from rich.progress import track

    from r2p_edge.calibration import motion
    from r2p_edge.calibration.calibrate import Calibration
    from r2p_edge.export.build import build

    if clips < 1:
        raise UsageError(f"clips is {clips}; it must be 1 or more")
    try:
        import cv2  # noqa: F401  the clips are drawn with it, whichever kernel preprocesses them
    except ImportError as error:
        raise MissingDependencyError(
            f"the demo needs OpenCV, which cannot be imported ({error}); "
            'pip install "r2p_edge[demo]"'
        ) from error
    console = Console(stderr=True)
    if not preprocessor.compiled:
        console.print(
            "The C++ extension is not built; OpenCV and NumPy preprocess instead, slower."
        )
    usable, left_out = _usable_runtimes()
    if not usable:
        raise BackendError("; ".join(left["reason"] for left in left_out))
    made: list[tuple[str, Path]] = []
    for precision, names in (("fp32", usable), ("int8", [n for n in usable if n in _INT8])):
        runtimes = {_TARGETS[name]: name for name in names}
        report = build(
            "motion",
            targets=list(runtimes),
            out=out,
            precision=None if precision == "fp32" else "int8",
            calibration=Calibration(num_clips=_CALIBRATED, judged=_JUDGED),
            keep_going=True,
        )
        for artifact in report.built:
            name = runtimes[artifact.target]
            if artifact.status == "built":
                made.append((name, artifact.path))
            else:
                left_out.append({"runtime": name, "reason": f"{name} has no converter here"})
        left_out += [{"runtime": runtimes[t], "reason": str(error)} for t, error in report.failed]
    if not made:
        raise BackendError("; ".join(left["reason"] for left in left_out))
    videos = out / "videos"
    try:
        videos.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{videos} cannot be made ({error.strerror}); choose another --out"
        ) from error

    with ExitStack() as stack:
        runs = [
            _Run(stack.enter_context(Predictor(path, runtime=name)), path) for name, path in made
        ]
        for run in runs:
            run.predictor.warmup()
        numbers = track(
            range(clips),
            description=f"{clips} held-out clips",
            console=console,
            disable=not console.is_terminal,
        )
        for number in numbers:
            label = motion.CLASSES[number % len(motion.CLASSES)]
            first = number < len(motion.CLASSES)
            video = videos / (f"{label.replace(' ', '-')}.mp4" if first else "held-out.mp4")
            try:
                motion.write_video(motion.scene("test", number), video)
            except OSError as error:
                raise OutputError(
                    f"{video} cannot be written ({error.strerror}); free or choose another --out"
                ) from error
            for run in runs:
                run.answer(video, label)
        (videos / "held-out.mp4").unlink(missing_ok=True)
    return {
        "model": "motion",
        "clips": clips,
        "classes": len(motion.CLASSES),
        "kernel": "C++" if preprocessor.compiled else "OpenCV and NumPy",
        "results": [run.result(runs[0]) for run in runs],
        "left_out": left_out,
    }


def _usable_runtimes() -> tuple[list[str], list[dict[str, str]]]:
    """Names of the runtimes that are installed and work, and why the others are left out."""
    usable, left_out = [], []
    for name in RUNTIMES:
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


class _Run:
    """One artifact on one runtime, and its answers so far."""

    def __init__(self, predictor: Predictor, path: Path) -> None:
        self.predictor, self._path = predictor, path
        self._labels: list[str] = []
        self._right: list[bool] = []
        self._milliseconds: list[float] = []

    def answer(self, video: Path, truth: str) -> None:
        prediction = self.predictor.predict(video)
        self._labels.append(prediction.label)
        self._right.append(prediction.label == truth)
        self._milliseconds.append(prediction.timing.total)

    def result(self, reference: _Run) -> dict[str, Any]:
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


def print_report(report: dict[str, Any]) -> None:
    """The report of `run_demo` as a table on stdout."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.SIMPLE,  # with the next line, narrow enough for a terminal of 80 columns
        pad_edge=False,
        title=f"{report['model']}: {report['clips']} held-out clips of {report['classes']} "
        f"classes, video file to answer, preprocessing in {report['kernel']}",
    )
    for column in (
        "runtime",
        "device",
        "precision",
        "top-1",
        "agrees",
        "p50 ms",
        "p90 ms",
        "p99 ms",
    ):
        table.add_column(column, no_wrap=True)
    for result in report["results"]:
        table.add_row(
            result["runtime"],
            result["device"],
            result["precision"],
            f"{result['top1']:.1%}",
            f"{result['agreement']:.1%}",
            *(f"{milliseconds:.1f}" for milliseconds in result["latency_ms"].values()),
        )
    # Without a terminal rich assumes 80 columns and would cut the names.
    console = Console()
    console = console if console.is_terminal else Console(width=120)
    console.print(table)
    for path in sorted({result["path"] for result in report["results"]}):
        console.print(f"model: {path}", soft_wrap=True)
    for left in report["left_out"]:
        console.print(f"left out: {left['reason']}", soft_wrap=True, markup=False)
