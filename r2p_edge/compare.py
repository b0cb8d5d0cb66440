"""`r2p-edge compare`: models on the same clips, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from r2p_edge import _child
from r2p_edge.agreement import TOLERANCE, agreement, within_tolerance
from r2p_edge.errors import R2PError, SpecError
from r2p_edge.predictor import Predictor

_IDENTITY = ("path", "runtime", "device", "precision")

# Of a spec, what two forms of one model should have in common.
_DECIDING = ("output", "clip", "resize", "crop", "scale", "mean", "std", "source")


def compare(
    reference: str | Path,
    artifacts: Sequence[str | Path],
    clips: Sequence[str | Path] | np.ndarray,
    *,
    runtime: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Runs models on the same clips, each in a process of its own, and compares their outputs.

    Every model reads the clips in its own way, as its spec says.

    Args:
        reference: the model file that the others are held against, on its default runtime.
        artifacts: the others; the reference itself may be among them, for another runtime.
        clips: video files, or uint8 clips (N, T, H, W, 3).
        runtime, device, threads, precision: for the artifacts, see `Predictor`.
        progress: is called after each clip with the model's path and how many it has answered.

    Returns:
        {"clips", "reference": {"path", "runtime", "device", "precision"}, "results": [{"path",
        "runtime", "device", "precision", "max_abs", "max_rel", "cosine", "top1", "within",
        "tolerance", "differs"}]}: the figures of `Agreement`, what was allowed and whether they
        are within it, and the fields of the two contracts that differ. An artifact that cannot
        answer has {"path", "error", "exit_code"} instead, and the others go on.

    Raises:
        R2PError: the reference cannot answer.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(clips, np.ndarray):
            file = Path(folder) / "clips.npy"
            np.save(file, clips)
            sources: str | list[str] = str(file)
        else:
            sources = [str(clip) for clip in clips]

        def run(model: str | Path, **options: Any) -> dict[str, Any]:
            arguments = {"model": str(model), "clips": sources, "options": options}
            report = None if progress is None else lambda done: progress(str(model), done)
            answered: dict[str, Any] = _child.call("r2p_edge.compare:answer", arguments, report)
            return answered

        original = run(reference)
        results = []
        for artifact in artifacts:
            try:
                answered = run(
                    artifact, runtime=runtime, device=device, threads=threads, precision=precision
                )
                results.append(_compared(original, answered))
            except R2PError as error:
                results.append(
                    {"path": str(artifact), "error": str(error), "exit_code": error.exit_code}
                )
    return {
        "clips": len(original["outputs"]),
        "reference": {key: original[key] for key in _IDENTITY},
        "results": results,
    }


def answer(
    report: Callable[[int], None], model: str, clips: str | list[str], options: dict[str, Any]
) -> dict[str, Any]:
    """What one model answers on the clips, as plain JSON types; runs in a process of its own."""
    with Predictor(model, **options) as predictor:
        sources = np.load(clips) if isinstance(clips, str) else clips
        outputs = []
        for done, source in enumerate(sources, 1):
            outputs.append(predictor.outputs(source)[0].tolist())
            report(done)
        return {
            "path": model,
            "runtime": predictor.runtime,
            "device": predictor.device,
            "precision": predictor.precision,
            "spec": predictor.spec.to_dict(),
            "outputs": outputs,
        }


def _compared(reference: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    mine, theirs = other["spec"], reference["spec"]
    if mine["labels"] != theirs["labels"]:
        raise SpecError(
            f"{other['path']} has other labels than {reference['path']}; compare models of the "
            "same classes"
        )
    found = agreement(np.array(reference["outputs"]), np.array(other["outputs"]))
    # Weights of fewer bits make a model coarse even where fp32 computes with them.
    involved = {each["precision"] for each in (reference, other, mine, theirs)}
    precision = next(name for name in ("int8", "bf16", "fp16", "fp32") if name in involved)
    figures = asdict(found)
    del figures["clips"]
    return {
        **{key: other[key] for key in _IDENTITY},
        **figures,
        "within": within_tolerance(found, precision),
        "tolerance": dict([TOLERANCE[precision]]) if precision in TOLERANCE else None,
        "differs": [name for name in _DECIDING if mine[name] != theirs[name]],
    }


def print_comparison(report: dict[str, Any]) -> None:
    """The report of `compare` as text on stdout."""
    reference = report["reference"]
    print(
        f"{report['clips']} clips, against {reference['path']} ({reference['runtime']} on "
        f"{reference['device']}, {reference['precision']})"
    )
    for result in report["results"]:
        if "error" in result:
            print(f"{result['path']}\n  error: {result['error']}")
            continue
        ((figure, limit),) = (result["tolerance"] or {"": None}).items()
        verdict = "within" if result["within"] else "BEYOND"
        allowed = f"{verdict} {figure} {limit:g}" if figure else "no limit for int8"
        print(
            f"{result['path']} ({result['runtime']} on {result['device']}, {result['precision']})\n"
            f"  top-1 equal {result['top1']:.1%}, largest difference {result['max_abs']:.3g}, "
            f"{result['max_rel']:.2e} of the largest, cosine {result['cosine']:.6f}: {allowed}"
        )
        if result["differs"]:
            print(f"  its contract differs in {', '.join(result['differs'])}")
        if result.get("first_difference"):
            print(f"  {result['first_difference']}")
