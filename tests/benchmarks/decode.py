"""From a video file to the model's pixels: planes that are resized first, and whole frames in RGB.

    python tests/benchmarks/decode.py [FILE...] [--json] [--rounds 20]

Every second frame of 50, read, resized and cropped as a Predictor does it ("yuv"), against the same
by way of RGB frames ("rgb"), both from the file and of frames that are decoded already. Without a
file two are drawn: MPEG-4 of 320x240 and H.264 of 1920x1080. Times are medians of interleaved
rounds; their ratio counts. The difference of the pixels is told too: the largest, the mean, and the
share above 3 levels.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from _harness import interleaved, machine

from r2p_edge.calibration import motion
from r2p_edge.export.presets import preset
from r2p_edge.frame import picture_of, rgb_of
from r2p_edge.preprocess.preprocessor import Preprocessor, compiled
from r2p_edge.video.source import open_source

FRAMES = 50
SPEC = preset("kinetics400-torchvision").spec(name="r2plus1d")


def draw_h264(path: Path, height: int, width: int) -> None:
    """A generated scene, 25 frames a second."""
    scene = motion.scene("test", 0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for time in motion.frame_times(25):
            image = scene.draw(float(time), height=height, width=width)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def pixels(path: Path, *, planes: bool) -> np.ndarray:
    """uint8 (25, 112, 112, 3)."""
    preprocessor = Preprocessor(SPEC)
    with contextlib.closing(open_source(path, 25.0, planes=planes)) as source:
        times = source.times[:FRAMES:2]
        out = np.empty((len(times), *preprocessor.frame_shape), np.uint8)
        for slot, picture in zip(out, source.read(times)):
            preprocessor.frame(picture, slot)
    return out


def decode(path: Path) -> list[av.VideoFrame]:
    """Decodes the same frames, in the way in which files are read."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "SLICE"
        return list(itertools.islice(container.decode(video=0), FRAMES))


def convert(frames: list[av.VideoFrame], picture: Callable[[av.VideoFrame], Any]) -> None:
    """From every second decoded frame to the model's pixels."""
    preprocessor = Preprocessor(SPEC)
    out = np.empty(preprocessor.frame_shape, np.uint8)
    for frame in frames[::2]:
        preprocessor.frame(picture(frame), out)


def measure(path: Path, rounds: int) -> dict[str, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        described = f"{stream.width}x{stream.height} {stream.codec_context.name}"
    ways = {
        "yuv": partial(pixels, path, planes=True),
        "rgb": partial(pixels, path, planes=False),
        "decode": partial(decode, path),
        "yuv, decoded": partial(convert, decode(path), picture_of),
        "rgb, decoded": partial(convert, decode(path), rgb_of),
    }
    medians = {name: statistics.median(each) for name, each in interleaved(ways, rounds).items()}
    found = np.abs(ways["yuv"]().astype(int) - ways["rgb"]())
    return {
        "video": described,
        "median_ms": {name: round(value, 3) for name, value in medians.items()},
        "yuv_times_as_fast": {
            "with decoding": round(medians["rgb"] / medians["yuv"], 2),
            "without": round(medians["rgb, decoded"] / medians["yuv, decoded"], 2),
        },
        "difference": {
            "largest": int(found.max()),
            "mean": round(float(found.mean()), 3),
            "above_3": round(float(np.mean(found > 3)), 5),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Video files to model input, by YUV and by RGB.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = options.files
        if not files:
            files = [Path(folder) / "small.mp4", Path(folder) / "large.mp4"]
            motion.write_video(motion.scene("test", 0), files[0])
            draw_h264(files[1], 1080, 1920)
        results = [measure(path, options.rounds) for path in files]
    report = {
        "benchmark": "decode", "machine": machine(), "compiled": compiled,
        "rounds": options.rounds, "results": results,
    }  # fmt: skip
    if options.json:
        print(json.dumps(report, indent=2))
        return
    for result in results:
        times = "; ".join(f"{name}: {value:.2f} ms" for name, value in result["median_ms"].items())
        print(f"{result['video']}\n  {times}")
        print(f"  yuv is so many times as fast: {result['yuv_times_as_fast']}")
        print(f"  difference of a pixel: {result['difference']}")


if __name__ == "__main__":
    main()
