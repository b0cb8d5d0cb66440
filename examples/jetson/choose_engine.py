"""Compares engines with their ONNX model, measures them, and keeps the best of them.

    python choose_engine.py ENGINE... --reference MODEL.onnx --out FILE [--videos DIR]

The engine that is kept is moved to FILE, its sidecar beside it. The exit codes are those of
r2p-edge: 3 where it cannot be written, 4 where no engine is accurate enough.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from r2p_edge import Predictor
from r2p_edge.artifact import bundle
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.sidecar import sidecar_path
from r2p_edge.calibration.accuracy import AGREEMENT, SPEEDUP
from r2p_edge.compare import compare
from r2p_edge.errors import BackendError, OutputError, ParityError, R2PError
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.video.video_folder import videos_in

MOST_VIDEOS = 100  # the reference answers each of them on the CPU
ROUNDS = 30


@dataclass(frozen=True)
class Candidate:
    """An engine and how it did.

    Attributes:
        path: the engine.
        precision: "fp16" or "int8".
        top1: share of the clips with the reference's class.
        within: whether its answers are as near to the reference's as its precision allows.
        cosine: to the reference's answers, on the worst clip.
        milliseconds: of one inference, the median.
    """

    path: Path
    precision: str
    top1: float
    within: bool
    cosine: float
    milliseconds: float


def choose(candidates: Sequence[Candidate], judged: bool) -> tuple[Candidate, str]:
    """Return the engine to keep, and why.

    Args:
        candidates: the FP16 engine, the INT8 engine, or both in this order.
        judged: the clips are real ones, which alone can tell whether INT8 is accurate enough.

    Raises:
        ParityError: none is accurate enough.
    """
    kept, other = candidates[0], candidates[-1]
    if not kept.within or (judged and kept.precision == "int8" and kept.top1 < AGREEMENT):
        raise ParityError(
            f"{kept.path.name} answers otherwise than its ONNX model (same class on "
            f"{kept.top1:.1%}, cosine {kept.cosine:.6f}); nothing is kept, so check the model"
        )
    if other is kept:
        unsure = "" if judged or kept.precision == "fp16" else ", and was not judged on videos"
        return kept, f"it is the only one{unsure}"
    if not judged:
        return kept, "INT8 can be judged on real videos only (--videos)"
    if other.top1 < AGREEMENT:
        return kept, f"INT8 has the same class on {other.top1:.1%} of the videos only"
    speedup = kept.milliseconds / other.milliseconds
    if speedup < SPEEDUP:
        return kept, f"INT8 is {speedup:.2f} times as fast, and {SPEEDUP} would be worth it"
    return other, f"it is {speedup:.2f} times as fast as FP16 and accurate enough"


def latencies(engines: Sequence[Path], clip: np.ndarray) -> list[float]:
    """Median milliseconds of an inference of each engine, which take turns."""
    with ExitStack() as stack:
        predictors = [stack.enter_context(Predictor(engine)) for engine in engines]
        for predictor in predictors:
            predictor.warmup()
        times = [
            [predictor.predict(clip).timing.inference for predictor in predictors]
            for _ in range(ROUNDS)
        ]
    return [median(each) for each in zip(*times)]


def measure(
    engines: Sequence[Path], reference: Path, videos: Sequence[Path] | None
) -> tuple[list[Candidate], int]:
    """How each engine did, and on how many clips; one that cannot answer is left out.

    Raises:
        R2PError: the reference or the first engine cannot answer.
    """
    generated = verification_clips(open_artifact(reference).spec, 8)
    report = compare(reference, engines, generated if videos is None else videos)
    results = dict(zip(engines, report["results"]))
    for engine, result in list(results.items()):
        if "error" not in result:
            continue
        if engine is engines[0]:
            raise BackendError(result["error"])
        print(f"choose_engine.py: warning: {engine.name}: {result['error']}", file=sys.stderr)
        del results[engine]
    found = [
        Candidate(
            path=engine,
            precision=open_artifact(engine).spec.precision,
            top1=1.0 if result["top1"] is None else result["top1"],  # of values
            within=result["within"],
            cosine=result["cosine"],
            milliseconds=milliseconds,
        )
        for (engine, result), milliseconds in zip(
            results.items(), latencies(list(results), generated[0])
        )
    ]
    return found, report["clips"]


def keep(engine: Path, out: Path) -> None:
    """Move an engine and its sidecar, and record them in the folder's manifest if it has one.

    A pair that does not fit together is refused when opened.

    Raises:
        OutputError: they cannot be moved, or the manifest not be written.
        ModelError: a file of the manifest's name is not a manifest.
    """
    try:
        engine.replace(out)
        sidecar_path(engine).replace(sidecar_path(out))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}; check the folder") from error
    # Its folder may be a bundle, which would count as damaged.
    if bundle.listed(out.parent) is not None:
        bundle.record(out.parent, [out])


def main() -> int:
    """Run the program; return its exit code."""
    parser = argparse.ArgumentParser(description="Keeps the best of some engines.")
    parser.add_argument("engines", nargs="+", type=Path, metavar="ENGINE")
    parser.add_argument("--reference", type=Path, required=True, help="ONNX model")
    parser.add_argument("--out", type=Path, required=True, help="engine to write")
    parser.add_argument("--videos", type=Path, help="folder of videos (default: generated clips)")
    options = parser.parse_args()
    try:
        videos = None
        if options.videos is not None:
            videos = videos_in(options.videos)
            # Spread over the folder, whose first files are often of one class.
            videos = videos[:: -(-len(videos) // MOST_VIDEOS)]
        candidates, count = measure(options.engines, options.reference, videos)
        clips = f"{count} generated clips" if videos is None else f"{count} videos"
        for each in candidates:
            print(
                f"{each.precision}: {each.milliseconds:.2f} ms, same class as the ONNX model on "
                f"{each.top1:.1%} of {clips}, cosine {each.cosine:.6f}"
            )
        chosen, why = choose(candidates, judged=videos is not None)
        keep(chosen.path, options.out)
    except R2PError as error:
        print(f"choose_engine.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{options.out}: {chosen.precision}, because {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
