"""The cost of `Predictor` around the model: against the bare session and a bare file reader.

    python tests/benchmarks/overhead.py [--json] [--pairs 100]

An R(2+1)D-18 of full size with random weights. `predict(array)` is held against `session.run` on
the same input, of the predictor's own session: two sessions of one file differ by up to 2 %,
depending on where their memory lies. `predict(file)` is held against the least that its answer
needs: decode up to the clip's last frame, convert, resize and stack its 16 frames, run. `avi` is a
file without presentation times, whose frames have to be counted, against decoding it from the key
frame that the clip needs. `avi, int8` is computed from the same times, with the milliseconds of
`--int8` in place of the model's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from _harness import interleaved, machine

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.frame import picture_of
from r2p_edge.preprocess.preprocessor import Preprocessor, compiled
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.sampling import nearest, plan_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import random_parameters, spec_for

BARS = {"array": 1.01, "file": 1.05, "avi": 1.08, "avi, int8": 1.08}


def model(folder: Path) -> Path:
    """A full-size R(2+1)D-18 with 101 classes, exported like any other checkpoint."""
    from safetensors.numpy import save_file

    save_file(random_parameters(), folder / "r2plus1d_18.safetensors")
    path = folder / "r2plus1d_18-fp32.onnx"
    onnx_from_checkpoint(
        folder / "r2plus1d_18.safetensors", spec_for(101, frames=16, size=112), path
    )
    return path


def counted_video(path: Path) -> tuple[Path, int]:
    """Write 160 frames as UCF101 has them, a key frame every 12; return the path and the number."""
    scene, count = motion.scene("test", 0), 160
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        stream.codec_context.gop_size = 12
        for number in range(count):
            image = scene.draw(number / 25 % motion.DURATION, height=240, width=320)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path, count


def measure(pairs: int, int8: float) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = model(folder)
        video = folder / "clip.mp4"
        motion.write_video(motion.scene("test", 0), video)
        with Predictor(path) as predictor:
            session = predictor._runtime._session
            clip = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)
            preprocessor = Preprocessor(predictor.spec)
            times = motion.frame_times()
            (plan,) = plan_clips(predictor.spec.clip, times, 1)
            wanted = nearest(times, plan.times).tolist()

            def bare_file() -> object:
                pixels = np.empty((1, 16, *preprocessor.frame_shape), np.uint8)
                with av.open(str(video)) as container:
                    stream = container.streams.video[0]
                    stream.thread_type = "SLICE"
                    for number, frame in enumerate(container.decode(stream)):
                        if number in wanted:
                            image = frame.to_ndarray(format="rgb24", threads=1)
                            preprocessor.frame(image, pixels[0, wanted.index(number)])
                        if number == wanted[-1]:
                            break
                return session.run(None, {"frames": pixels})

            avi, count = counted_video(folder / "clip.avi")
            (avi_plan,) = plan_clips(predictor.spec.clip, np.arange(count) / 25, 1)
            avi_wanted = nearest(np.arange(count) / 25, avi_plan.times).tolist()
            reader = ClipReader(predictor.spec)

            def read_bare_avi() -> np.ndarray:
                pixels = np.empty((1, 16, *preprocessor.frame_shape), np.uint8)
                with av.open(str(avi)) as container:
                    stream = container.streams.video[0]
                    stream.thread_type = "SLICE"
                    container.seek(avi_wanted[0], stream=stream)
                    for frame in container.decode(stream):
                        if frame.pts in avi_wanted:
                            slot = pixels[0, avi_wanted.index(frame.pts)]
                            preprocessor.frame(picture_of(frame), slot)
                        if frame.pts == avi_wanted[-1]:
                            break
                return pixels

            np.testing.assert_array_equal(read_bare_avi(), reader.read(avi).pixels)

            milliseconds = interleaved(
                {
                    "decode + preprocess (avi)": read_bare_avi,
                    "read(avi)": lambda: reader.read(avi),
                    "decode + preprocess + session.run (avi)": lambda: session.run(
                        None, {"frames": read_bare_avi()}
                    ),
                    "predict(avi)": lambda: predictor.predict(avi),
                    "session.run": lambda: session.run(None, {"frames": clip[None]}),
                    "predict(array)": lambda: predictor.predict(clip),
                    "decode + preprocess + session.run": bare_file,
                    "predict(file)": lambda: predictor.predict(video),
                },
                pairs,
            )
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    bare_avi, read_avi = medians["decode + preprocess (avi)"], medians["read(avi)"]
    ratios = {
        "avi": medians["predict(avi)"] / medians["decode + preprocess + session.run (avi)"],
        "avi, int8": (read_avi + int8) / (bare_avi + int8),
        "array": medians["predict(array)"] / medians["session.run"],
        "file": medians["predict(file)"] / medians["decode + preprocess + session.run"],
    }
    return {
        "machine": machine(),
        "kernel": "C++" if compiled else "OpenCV and NumPy",
        "model": "r2plus1d_18, 16x112x112, fp32, onnxruntime",
        "pairs": pairs,
        "median_ms": {name: round(value, 3) for name, value in medians.items()},
        "ratios": {
            name: {"ratio": round(ratios[name], 4), "bar": bar, "met": ratios[name] <= bar}
            for name, bar in BARS.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=100, help="rounds (default 100)")
    parser.add_argument(
        "--int8", type=float, default=44.0, metavar="MS", help="time of an INT8 model (default 44)"
    )
    options = parser.parse_args()
    report = measure(options.pairs, options.int8)
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report["median_ms"].items():
        print(f"{value:9.2f} ms  {name}")
    for name, held in report["ratios"].items():
        print(f"{name}: {held['ratio']:.3f} (at most {held['bar']})")


if __name__ == "__main__":
    main()
