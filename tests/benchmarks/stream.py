"""The cost of a stream around the model, the age of its answers, and the memory that it keeps.

    python tests/benchmarks/stream.py [--json] [--rounds 60] [--seconds 20]

Cost: one second of 25 fps through `Stream.push`, with a model that costs nothing, against
`cv2.resize` of the same frames alone, and against what people write: a list of the newest
preprocessed frames, stacked anew for each frame. Latency: the bundled model on 30 fps of real time,
from the capture of a frame to the answer on the window that ends with it. Memory: growth of the
process over 20,000 frames. Times are medians of interleaved rounds; their ratios count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _harness import interleaved, machine

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.live.frame import LiveFrame, decoded
from r2p_edge.live.motion_gate import MOTION
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.preprocess.preprocessor import Preprocessor, compiled

SIZES = ((240, 320), (1080, 1920))
FPS = 25
BARS = {"cv2.resize": 1.0, "list of frames": 1.0}
"""`Stream.push` may take at most so many times as long."""

MEMORY_BAR = 2e6
MEMORY_FRAMES = 20_000


class Free:
    """A predictor with a model that costs nothing."""

    runtime = device = precision = "none"

    def __init__(self, predictor: Predictor) -> None:
        self.spec = predictor.spec
        self._scores = np.full((1, len(self.spec.labels)), 1 / len(self.spec.labels))

    def scores(self, pixels: np.ndarray, **_: Any) -> np.ndarray:
        """Return the same scores always."""
        return self._scores


class ListOfFrames:
    """The window as people write it: a list of preprocessed frames, one array of it when asked."""

    def __init__(self, spec: Any) -> None:
        self._spec, self._preprocessor = spec, Preprocessor(spec)
        self._frames: deque[np.ndarray] = deque(maxlen=spec.clip.frames)

    def push(self, image: np.ndarray) -> np.ndarray | None:
        """Add a frame; return the clip once it is full."""
        pixels = np.empty(self._preprocessor.frame_shape, np.uint8)
        self._preprocessor.frame(image, pixels)
        self._frames.append(pixels)
        if len(self._frames) < self._spec.clip.frames:
            return None
        return np.stack(self._frames)


def cost(predictor: Predictor, height: int, width: int, rounds: int) -> dict[str, object]:
    """Return milliseconds per frame of one size, and the ratios to the alternatives."""
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (height, width, 3), np.uint8) for _ in range(FPS)]
    crop = predictor.spec.crop
    whole_height, whole_width, top, left = Preprocessor(predictor.spec).geometry(height, width)
    free: Any = Free(predictor)
    stream, every = Stream(free), Stream(free, stride=1)
    gated = Stream(free, motion=MOTION)
    listed = ListOfFrames(predictor.spec)
    out = np.empty((crop.height, crop.width, 3), np.uint8)
    clock = dict.fromkeys((stream, every, gated), 0)

    def push(stream: Stream) -> None:
        for frame in frames:
            stream.push(frame, clock[stream] / FPS)
            clock[stream] += 1

    def resized() -> None:
        for frame in frames:
            whole = cv2.resize(frame, (whole_width, whole_height), interpolation=cv2.INTER_LINEAR)
            out[...] = whole[top : top + crop.height, left : left + crop.width]

    def list_of_frames() -> None:
        for frame in frames:
            listed.push(frame)

    times = interleaved(
        {
            "Stream.push": lambda: push(stream),
            "Stream.push, an answer every tick": lambda: push(every),
            "Stream.push, with the motion gate": lambda: push(gated),
            "cv2.resize": resized,
            "list of frames": list_of_frames,
        },
        rounds,
    )
    medians = {name: statistics.median(values) / FPS for name, values in times.items()}
    ratios = {}
    for name, bar in BARS.items():
        ratio = medians["Stream.push"] / medians[name]
        ratios[name] = {"ratio": round(ratio, 3), "bar": bar, "met": ratio <= bar}
    return {
        "source": f"{width}x{height}",
        "ms_per_frame": {name: round(value, 4) for name, value in medians.items()},
        "ratios": ratios,
    }


class Paced:
    """A camera of 30 fps in real time."""

    name, live, truncated, lost, timeout = "30 fps", True, False, False, 10.0

    def __init__(self, seconds: float) -> None:
        scene = motion.scene("test", 4)
        self._images = [scene.draw(k / 30) for k in range(48)]
        self._count, self._stopped = int(30 * seconds), False

    def frames(self) -> Iterator[LiveFrame]:
        """Yield a frame every thirtieth of a second."""
        begin = time.monotonic()
        for k in range(self._count):
            captured = begin + k / 30
            time.sleep(max(captured - time.monotonic(), 0))
            if self._stopped:
                return
            image = self._images[k % len(self._images)]
            yield LiveFrame(k / 30, captured, image.shape[:2], decoded(image))

    def stop(self) -> None:
        """End the frames soon."""
        self._stopped = True

    def close(self) -> None:
        """Release nothing."""


def latency(predictor: Predictor, seconds: float, **options: Any) -> dict[str, Any]:
    """Return milliseconds from the capture of the newest frame that an answer needs to the answer.

    Args:
        options: of the stream.
    """
    predictor.warmup()
    feed = Feed(Stream(predictor, **{"stride": 1, **options}), Paced(seconds), "latest", 60.0)
    ages, inference = [], []
    with PredictionStream([feed]) as answers:
        for answer in answers:
            assert answer.live is not None
            ages.append(answer.live.age_ms - 1e3 * answer.live.lag)
            inference.append(answer.timing.inference)
    shares = {name: round(float(np.percentile(ages, q)), 2) for name, q in _SHARES.items()}
    return {
        "fps": 30,
        "seconds": seconds,
        "answers": len(ages),
        "skipped": answer.live.skipped,
        "age_ms": shares,
        "inference_ms": round(statistics.median(inference), 2),
    }


_SHARES = {"p50": 50, "p90": 90, "p99": 99}


def memory(predictor: Predictor) -> dict[str, object]:
    """Return the bytes by which the process grows over many frames."""
    stream, frame = Stream(Free(predictor)), np.zeros((240, 320, 3), np.uint8)  # type: ignore[arg-type]
    grown = 0
    for k in range(2000 + MEMORY_FRAMES):
        if k == 2000:
            grown = -resident()
        stream.push(frame, k / FPS)
    grown += resident()
    return {
        "frames": MEMORY_FRAMES,
        "growth_bytes": grown,
        "bar": MEMORY_BAR,
        "met": grown < MEMORY_BAR,
    }


def resident() -> int:
    """Return the bytes of memory that the process uses."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Return all results, and the machine that they are of."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        (artifact,) = build("motion", targets=["onnx"], out=Path(folder)).built
        with Predictor(artifact.path) as predictor:
            return {
                "benchmark": "stream",
                "machine": machine(),
                "kernel": "C++" if compiled else "OpenCV and NumPy",
                "rounds": rounds,
                "cost": [cost(predictor, *size, rounds) for size in SIZES],
                "latency": latency(predictor, seconds),
                "memory": memory(predictor),
            }


def print_table(report: dict[str, Any]) -> None:
    """Print the results for people."""
    for result in report["cost"]:
        print(result["source"])
        for name, value in result["ms_per_frame"].items():
            line = f"  {name:<36}{value:8.4f} ms a frame"
            if held := result["ratios"].get(name):
                verdict = "met" if held["met"] else "NOT met"
                line += f"   push is {held['ratio']:.2f} of it; bar {held['bar']} {verdict}"
            print(line)
    age = ", ".join(f"{name} {value:.1f}" for name, value in report["latency"]["age_ms"].items())
    latency = report["latency"]
    print(f"camera to answer at 30 fps: {age} ms; inference {latency['inference_ms']:.1f} ms")
    held = report["memory"]
    print(f"growth over {held['frames']} frames: {held['growth_bytes'] / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=60, help="of the costs (default 60)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the latency (default 20)")
    options = parser.parse_args()
    report = measure(options.rounds, options.seconds)
    if options.json:
        print(json.dumps(report))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
