"""From 16 decoded frames to a model's input: the C++ kernel against OpenCV, NumPy and torchvision.

    python tests/benchmarks/preprocess.py [--json] [--repeats N]

Every side uses one thread, and the 16 frames are different memory. "opencv + numpy" is what people
write; "plane by plane", the fastest NumPy known to us, is there for comparison and has no bar.
Times are medians of interleaved repeats; what counts is their ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from _harness import interleaved, machine

from r2p_edge.preprocess import _frames

FRAMES = 16
RESIZED = 128, 171
TOP, LEFT, CROP = 8, 30, 112
MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)

# Ours must be so many times as fast, at each size of the source frames.
BARS = {
    (240, 320): {"opencv resize": 2.3, "opencv + numpy": 7.5, "torchvision preset": 11.7},
    (1080, 1920): {"opencv resize": 2.6, "opencv + numpy": 3.8, "torchvision preset": 96.0},
}
# The side of ours that does the same work.
COUNTERPART = {
    "opencv resize": "r2p_edge resize",
    "opencv + numpy": "r2p_edge resize + stack",
    "torchvision preset": "r2p_edge resize + stack",
}


def contenders(frames: list[np.ndarray]) -> dict[str, Callable[[], np.ndarray]]:
    """The ways from RGB frames to uint8 slots (the two `resize`) or a float32 clip (the others)."""
    slots = np.empty((FRAMES, CROP, CROP, 3), np.uint8)
    clip = np.empty((3, FRAMES, CROP, CROP), np.float32)
    mean, std = np.array(MEAN, np.float32), np.array(STD, np.float32)
    scale, bias = 1 / (255 * std), -mean / std
    resizer = _frames.Resizer(*frames[0].shape[:2], *RESIZED, TOP, LEFT, CROP, CROP)

    def ours_resize() -> np.ndarray:
        for frame, slot in zip(frames, slots):
            resizer.resize(frame, slot, False)
        return slots

    def ours() -> np.ndarray:
        _frames.stack(ours_resize(), clip, scale, bias)
        return clip

    def opencv_resize() -> np.ndarray:
        for frame, slot in zip(frames, slots):
            resized = cv2.resize(frame, RESIZED[::-1], interpolation=cv2.INTER_LINEAR)
            slot[...] = resized[TOP : TOP + CROP, LEFT : LEFT + CROP]
        return slots

    def opencv_numpy() -> np.ndarray:
        normalised = (opencv_resize().astype(np.float32) / 255 - mean) / std
        return np.ascontiguousarray(normalised.transpose(3, 0, 1, 2))

    def opencv_numpy_planes() -> np.ndarray:
        opencv_resize()
        for channel, plane in enumerate(clip):
            np.multiply(slots[..., channel], scale[channel], out=plane, dtype=np.float32)
            plane += bias[channel]
        return clip

    return {
        "r2p_edge resize": ours_resize,
        "opencv resize": opencv_resize,
        "r2p_edge resize + stack": ours,
        "opencv + numpy": opencv_numpy,
        "opencv + numpy, plane by plane": opencv_numpy_planes,
    }


def torchvision_preset(frames: list[np.ndarray]) -> Callable[[], np.ndarray]:
    """torchvision's transform of its video models; raises ImportError where it cannot run."""
    import torch

    torch.set_num_threads(1)
    try:
        from torchvision.transforms._presets import VideoClassification
    except RuntimeError:
        # A torchvision built for another torch cannot load its own operators. The transform needs
        # none of them, only their names.
        for name in ("nms", "qnms"):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)
        from torchvision.transforms._presets import VideoClassification

    preset = VideoClassification(crop_size=(CROP, CROP), resize_size=RESIZED, mean=MEAN, std=STD)
    clip = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)  # (T, C, H, W), as it wants
    return lambda: preset(clip).numpy()


def measure(height: int, width: int, repeats: int) -> dict[str, object]:
    """The medians in milliseconds, and every ratio with its bar, for one size of frame."""
    generator = np.random.default_rng(0)
    shape = height, width, 3
    frames = [generator.integers(0, 256, shape, dtype=np.uint8) for _ in range(FRAMES)]
    functions = contenders(frames)
    unavailable = {}
    try:
        functions["torchvision preset"] = torchvision_preset(frames)
    except (ImportError, RuntimeError) as error:
        unavailable["torchvision preset"] = str(error)

    # All do the same work, up to torchvision's resize in floating point.
    expected = functions["r2p_edge resize + stack"]().copy()
    for name, function in functions.items():
        if not name.endswith("resize"):
            np.testing.assert_allclose(function(), expected, atol=0.05, err_msg=name)

    times = interleaved(functions, repeats)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios: dict[str, dict[str, float | bool] | None] = {}
    for name, bar in BARS[height, width].items():
        if name in medians:
            ratio = medians[name] / medians[COUNTERPART[name]]
            ratios[name] = {"ratio": round(ratio, 2), "bar": bar, "met": ratio >= bar}
        else:
            ratios[name] = None
    return {
        "source": f"{width}x{height}",
        "median_ms": {name: round(value, 4) for name, value in medians.items()},
        "ratios": ratios,
        "unavailable": unavailable,
    }


def print_table(report: dict[str, Any]) -> None:
    print(f"{report['machine']['cpu']}, {FRAMES} frames, one thread, {report['repeats']} repeats")
    for result in report["results"]:
        print(f"\n{result['source']}")
        for name, milliseconds in result["median_ms"].items():
            line = f"  {name:<32}{milliseconds:>9.3f} ms"
            if held := result["ratios"].get(name):
                verdict = "met" if held["met"] else "NOT met"
                line += f"   ours is {held['ratio']:.1f}x as fast; bar {held['bar']}x {verdict}"
            print(line)
        for name, reason in result["unavailable"].items():
            print(f"  {name:<32}not measured: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames to model input, side by side.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--repeats", type=int, default=60, help="rounds (default: %(default)s)")
    arguments = parser.parse_args()

    cv2.setNumThreads(1)
    report = {
        "benchmark": "preprocess",
        "machine": machine(),
        "frames": FRAMES,
        "repeats": arguments.repeats,
        "results": [measure(height, width, arguments.repeats) for height, width in BARS],
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
