"""Two streams: a camera of 25 frames a second in real time, and one reading of a file for both.

    python tests/benchmarks/two_stream.py [--json] [--seconds 20] [--rounds 5] [--runtime NAME]
        [--every SECONDS] [--small]

Two R(2+1)D-18 with random weights, of colours and of the R(2+1)D paper's flow (Farneback of the
crop), 16 frames of 112x112 at 25 a second; `--small` takes networks of a hundredth of the work.
`--runtime` may name two, that of colours first: onnxruntime+openvino.

Stream: frames of 1280x720 come every 40 ms, and each answer is for the newest window (by default
one is due every half clip). Told for colours alone, flow alone, and both: answers a second, windows
that were skipped because the model was busy, milliseconds from a window's newest frame to its
answer, milliseconds of the model and of preparing a frame, and how many cores the process used.
File: medians of interleaved rounds for one clip of a 1920x1080 file, read and answered for both at
once, against one after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from _harness import interleaved, machine
from decode import draw_h264

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.preprocess.preprocessor import compiled
from r2p_edge.spec import FLOW_RECIPES, ClipSpec, InputSpec
from r2p_edge.video.clip_reader import ClipReader

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import random_parameters, spec_for

FPS, HEIGHT, WIDTH, FRAMES = 25.0, 720, 1280, 16
SMALL = {"counts": (1, 1, 1, 1), "widths": (8, 12, 16, 24), "classes": 101}


def models(folder: Path, *, small: bool) -> dict[str, Path]:
    """Export both networks; return their files by the names of their streams."""
    from safetensors.numpy import save_file

    spec = spec_for(101, frames=FRAMES, size=112)
    spec = spec.replace(clip=ClipSpec(frames=FRAMES, interval=1, fps=FPS))
    of_flow = spec.replace(
        input=InputSpec(modality="flow", dtype="float32"),
        flow=FLOW_RECIPES["r2plus1d"],
        scale=1.0,
        mean=(0.0046635, 0.0046261),
        std=(0.972347, 0.755146),
    )
    of_colours = random_parameters(**(SMALL if small else {}))
    two_channels = {**of_colours, "conv1.weight": of_colours["conv1.weight"][:, :2].copy()}
    found = {}
    for name, contract, parameters in (
        ("rgb", spec, of_colours),
        ("flow", of_flow, two_channels),
    ):
        save_file(parameters, folder / f"{name}.safetensors")
        found[name] = folder / f"{name}.onnx"
        onnx_from_checkpoint(folder / f"{name}.safetensors", contract, found[name])
    return found


class Paced:
    """A camera that gives a frame every 40 ms."""

    name, live, truncated, lost, timeout = "25 fps", True, False, False, 10.0

    def __init__(self, images: list[np.ndarray], seconds: float) -> None:
        self._images, self._count, self._stopped = images, int(FPS * seconds), False

    def frames(self) -> Iterator[LiveFrame]:
        """Yield the frames in real time."""
        begin = time.monotonic()
        for number in range(self._count):
            captured = begin + number / FPS
            time.sleep(max(captured - time.monotonic(), 0))
            if self._stopped:
                return
            image = self._images[number % len(self._images)]
            yield LiveFrame(number / FPS, captured, image.shape[:2], decoded(image))

    def stop(self) -> None:
        """End the frames soon."""
        self._stopped = True

    def close(self) -> None:
        """Release nothing."""


def streamed(
    predictor: Predictor, images: list[np.ndarray], seconds: float, every: float | None
) -> dict[str, Any]:
    """Return the figures of a stream in real time."""
    predictor.warmup()
    feed = Feed(Stream(predictor, every=every), Paced(images, seconds), "latest", 60.0)
    started, used = time.monotonic(), time.process_time()
    with PredictionStream([feed]) as stream:
        answers = list(stream)
    elapsed, used = time.monotonic() - started, time.process_time() - used
    lives = [answer.live for answer in answers if answer.live is not None]
    ages = [live.age_ms for live in lives]
    prepared = sum(answer.timing.preprocess for answer in answers)
    return {
        "due_every_s": round(feed.stream.buffer.every, 3),
        "answers_per_s": round(len(answers) / elapsed, 2),
        "answers": len(answers),
        "skipped": lives[-1].skipped if lives else None,
        "age_ms": {f"p{q}": round(float(np.percentile(ages, q)), 1) for q in (50, 90)},
        "inference_ms": round(statistics.median(each.timing.inference for each in answers), 1),
        "prepare_ms_per_frame": round(prepared / (FPS * seconds), 2),
        "cores_used": round(used / elapsed, 2),
    }


def of_file(predictors: dict[str, Predictor], video: Path, rounds: int) -> dict[str, Any]:
    """Return medians of one clip of a file, for both streams at once and one after the other."""
    readers = {name: ClipReader(each.spec) for name, each in predictors.items()}
    medians = {
        name: statistics.median(times)
        for name, times in interleaved(
            {
                "read": lambda: readers["both"].read(video),
                "read apart": lambda: (readers["rgb"].read(video), readers["flow"].read(video)),
                "predict": lambda: predictors["both"].predict(video),
                "predict apart": lambda: (
                    predictors["rgb"].predict(video),
                    predictors["flow"].predict(video),
                ),
            },
            rounds,
        ).items()
    }
    return {
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "read_times_as_fast": round(medians["read apart"] / medians["read"], 2),
        "predict_times_as_fast": round(medians["predict apart"] / medians["predict"], 2),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all results, and the machine that they are of."""
    scene = motion.scene("test", 4)
    images = [scene.draw(number / FPS, height=HEIGHT, width=WIDTH) for number in range(40)]
    rgb_runtime, _, flow_runtime = (options.runtime or "onnxruntime").partition("+")
    with tempfile.TemporaryDirectory() as name:
        files = models(Path(name), small=options.small)
        video = Path(name) / "large.mp4"
        draw_h264(video, 1080, 1920)
        with (
            Predictor(files["rgb"], runtime=rgb_runtime) as rgb,
            Predictor(files["flow"], runtime=flow_runtime or rgb_runtime) as flow,
            Predictor(
                [files["rgb"], files["flow"]], fusion="r2plus1d", runtime=options.runtime
            ) as both,
        ):
            predictors = {"rgb": rgb, "flow": flow, "both": both}
            return {
                "benchmark": "two_stream", "machine": machine(), "compiled": compiled,
                "network": "small" if options.small else "R(2+1)D-18", "runtime": both.runtime,
                "seconds": options.seconds, "rounds": options.rounds,
                "stream": {
                    each: streamed(predictor, images, options.seconds, options.every)
                    for each, predictor in predictors.items()
                },
                "file": of_file(predictors, video, options.rounds),
            }  # fmt: skip


def print_table(report: dict[str, Any]) -> None:
    """Print the results for people."""
    print(f"{report['network']} on {report['runtime']}, 25 frames of {WIDTH}x{HEIGHT} a second")
    for name, each in report["stream"].items():
        print(
            f"  {name:<5} {each['answers_per_s']:.2f} answers a second (one due every "
            f"{each['due_every_s']} s, {each['skipped']} skipped of "
            f"{each['answers'] + each['skipped']}), {each['age_ms']['p50']:.0f} ms old (p90 "
            f"{each['age_ms']['p90']:.0f}), model {each['inference_ms']:.0f} ms, "
            f"{each['prepare_ms_per_frame']:.1f} ms to prepare a frame, {each['cores_used']:.2f} "
            "cores"
        )
    found = report["file"]
    print(
        f"  a clip of a 1080p file, both at once: read {found['median_ms']['read']:.0f} ms, "
        f"{found['read_times_as_fast']} times as fast as apart; predict "
        f"{found['median_ms']['predict']:.0f} ms, {found['predict_times_as_fast']} times"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a stream (default 20)")
    parser.add_argument("--rounds", type=int, default=5, help="of the file (default 5)")
    parser.add_argument("--runtime", help="see `Predictor` (default onnxruntime)")
    parser.add_argument("--every", type=float, help="seconds of an answer (default half a clip)")
    parser.add_argument("--small", action="store_true", help="take small networks")
    options = parser.parse_args()
    report = measure(options)
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
