"""From a video file to a model's optical flow: as a Predictor reads it, and as a plain loop does.

    python tests/benchmarks/flow.py [FILE...] [--json] [--rounds 5] [--recipe crop full ...]

One centre clip of 16 frames of flow, 25 a second, of a file of 1920x1080 and of one of 320x240
(drawn, unless files are given). The loop is what people write: every frame by cv2.VideoCapture to
the clip's end, in BGR, then for the clip resize, crop, grey, flow, cut off, in the order of the
recipe, all with OpenCV. Recipes: "crop" is the R(2+1)D paper's Farneback of 112x112, "resized" is
Farneback of frames resized to a short side of 256, and "full" is Farneback of whole frames; "tvl1"
is I3D's, where OpenCV has it. Times are medians of interleaved rounds; their ratio counts. The
largest difference of the two flows is told, and so are the milliseconds of one pair of pictures,
and of a stream the share of a tick that a pair takes.

It ends with 1 where a recipe at the model's size is not 1.5 times as fast at 1080p, or another is
more than 5 % slower: what is not decoding and resizing is the same work in both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _harness import interleaved, machine
from decode import draw_h264

from r2p_edge.calibration import motion
from r2p_edge.preprocess.flow import FlowPreprocessor, has_method
from r2p_edge.preprocess.preprocessor import compiled
from r2p_edge.spec import (
    FLOW_RECIPES,
    ClipSpec,
    CropSpec,
    FlowSpec,
    InputSpec,
    ModelSpec,
    ResizeSpec,
)  # fmt: skip
from r2p_edge.video.clip_reader import ClipReader

FRAMES, FPS = 16, 25.0
AT_LEAST, NO_SLOWER = 1.5, 0.95
FARNEBACK = (2**0.5 / 2, 5, 10, 2, 7, 1.5, cv2.OPTFLOW_FARNEBACK_GAUSSIAN)


def spec_of(flow: FlowSpec, resize: ResizeSpec, size: int) -> ModelSpec:
    pixels = flow.levels == "float32"
    return ModelSpec(
        name="flow",
        labels=("a",),
        clip=ClipSpec(frames=FRAMES, interval=1, fps=FPS),
        resize=resize,
        crop=CropSpec(size, size, rounding="floor"),
        scale=1.0,
        mean=(0.0, 0.0),
        std=(1.0, 1.0),
        input=InputSpec(dtype="float32" if pixels else "uint8", modality="flow"),
        flow=flow,
    )


SMALL, LARGE = ResizeSpec("stretch", 128, 171), ResizeSpec("short_side", size=256)
SPECS = {
    "crop": spec_of(FLOW_RECIPES["r2plus1d"], SMALL, 112),
    "resized": spec_of(FlowSpec("farneback", "resized", 20.0, "uint8"), LARGE, 224),
    "full": spec_of(FlowSpec("farneback", "full", 20.0, "uint8"), LARGE, 224),
    "tvl1": spec_of(FLOW_RECIPES["i3d"], LARGE, 224),
}


def ours(path: Path, spec: ModelSpec) -> np.ndarray:
    return ClipReader(spec).read(path).pixels[0]


def loop(path: Path, spec: ModelSpec) -> np.ndarray:
    """The same with cv2.VideoCapture and a list of all frames up to the clip's end."""
    assert spec.flow is not None
    capture = cv2.VideoCapture(str(path))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    start = (count - FRAMES - 1) // 2
    frames = [capture.read()[1] for _ in range(start + FRAMES + 1)][start:]
    capture.release()
    height, width = frames[0].shape[:2]
    size = (171, 128)
    if spec.resize.mode == "short_side":
        size = (256 * width // height, 256) if width > height else (256, 256 * height // width)
    side = spec.crop.height
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    greys = []
    for frame in frames:
        if spec.flow.picture != "full":
            frame = cv2.resize(frame, size)
        if spec.flow.picture == "crop":
            frame = np.ascontiguousarray(frame[top : top + side, left : left + side])
        greys.append(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    algorithm = None
    if spec.flow.method == "tvl1":
        algorithm = cv2.optflow.DualTVL1OpticalFlow_create()
    result = []
    for before, after in itertools.pairwise(greys):
        if algorithm is None:
            flow = cv2.calcOpticalFlowFarneback(before, after, None, *FARNEBACK)
        else:
            flow = algorithm.calc(before, after, None)
        if spec.flow.bound is not None:
            flow = np.clip(flow, -20, 20)
            flow = np.rint((flow + 20) * (255 / 40)).astype(np.uint8)
        if spec.flow.picture == "full":
            flow = cv2.resize(flow, size)
        if spec.flow.picture != "crop":
            flow = flow[top : top + side, left : left + side]
        result.append(flow)
    return np.stack(result)


def pair_ms(spec: ModelSpec, height: int, width: int) -> float:
    """Median milliseconds of the flow of one pair of pictures, as a stream computes it."""
    maker, scene = FlowPreprocessor(spec), motion.scene("test", 0)
    first, second = (
        maker.picture(scene.draw(number / FPS, height=height, width=width)) for number in (0, 1)
    )
    out = np.empty((spec.crop.height, spec.crop.width, 2), spec.frame_dtype)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        maker.frame(first, second, out)
        times.append(1e3 * (time.perf_counter() - started))
    return statistics.median(times)


def measure(path: Path, name: str, rounds: int) -> dict[str, Any]:
    capture = cv2.VideoCapture(str(path))
    width, height = (int(capture.get(each)) for each in (3, 4))
    capture.release()
    spec = SPECS[name]
    ways: dict[str, Callable[[], Any]] = {
        "ours": partial(ours, path, spec),
        "loop": partial(loop, path, spec),
    }
    medians = {each: statistics.median(found) for each, found in interleaved(ways, rounds).items()}
    pair = pair_ms(spec, height, width)
    difference = np.abs(ways["ours"]().astype(float) - ways["loop"]())
    return {
        "video": f"{width}x{height}",
        "recipe": name,
        "median_ms": {each: round(value, 1) for each, value in medians.items()},
        "times_as_fast": round(medians["loop"] / medians["ours"], 2),
        "pair_ms": round(pair, 2),
        "share_of_a_tick": round(pair * FPS / 1e3, 2),
        # The colours are converted by other arithmetic, so a picture differs by a level or two.
        "difference": {
            "median": float(np.median(difference)),
            "largest": round(float(difference.max()), 3),
        },
    }


def missed(result: dict[str, Any]) -> bool:
    """Return whether a result is below its bar; small videos have none."""
    if not result["video"].endswith("x1080"):
        return False
    return bool(result["times_as_fast"] < (AT_LEAST if result["recipe"] == "crop" else NO_SLOWER))


def main() -> int:
    parser = argparse.ArgumentParser(description="Video files to optical flow, and a plain loop.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--recipe", nargs="+", choices=SPECS, default=["crop", "resized", "full"])
    options = parser.parse_args()
    absent = [each for each in options.recipe if not has_method(cv2, SPECS[each].flow.method)]
    if absent:
        parser.error(f"this OpenCV cannot compute {', '.join(absent)}")
    with tempfile.TemporaryDirectory() as folder:
        files = options.files
        if not files:
            files = [Path(folder) / "small.mp4", Path(folder) / "large.mp4"]
            motion.write_video(motion.scene("test", 0), files[0])
            draw_h264(files[1], 1080, 1920)
        results = [
            measure(path, recipe, options.rounds) for path in files for recipe in options.recipe
        ]
    report = {
        "benchmark": "flow", "machine": machine(), "compiled": compiled,
        "opencv": cv2.__version__, "opencv_threads": cv2.getNumThreads(),
        "rounds": options.rounds, "results": results,
    }  # fmt: skip
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        for result in results:
            medians = result["median_ms"]
            print(
                f"{result['video']} {result['recipe']}: {result['times_as_fast']} times as fast "
                f"({medians['ours']} ms, loop {medians['loop']} ms); a pair "
                f"{result['pair_ms']} ms, {result['share_of_a_tick']:.0%} of a tick; "
                f"{result['difference']}"
            )
    return int(any(map(missed, results)))


if __name__ == "__main__":
    sys.exit(main())
