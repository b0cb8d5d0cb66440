"""The cost of `Predictor` around the model: against the bare session and a bare file reader.

    python tests/benchmarks/overhead.py [--json] [--pairs 100]

An R(2+1)D-18 of full size with random weights. `predict(array)` is held against `session.run` on
the same input with the same session options; `predict(file)` against the least that its answer
needs: decode up to the clip's last frame, convert, resize and stack its 16 frames, run.
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
import onnxruntime
from _harness import interleaved, machine

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.preprocess.preprocessor import Preprocessor, compiled
from r2p_edge.runtimes.onnxruntime import session_options
from r2p_edge.video.sampling import nearest, plan_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import random_parameters, spec_for

BARS = {"array": 1.02, "file": 1.10}


def model(folder: Path) -> Path:
    """A full-size R(2+1)D-18 with 101 classes, exported like any other checkpoint."""
    from safetensors.numpy import save_file

    save_file(random_parameters(), folder / "r2plus1d_18.safetensors")
    path = folder / "r2plus1d_18-fp32.onnx"
    onnx_from_checkpoint(
        folder / "r2plus1d_18.safetensors", spec_for(101, frames=16, size=112), path
    )
    return path


def measure(pairs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = model(folder)
        video = folder / "clip.mp4"
        motion.write_video(motion.scene("test", 0), video)
        session = onnxruntime.InferenceSession(
            path, session_options(None), providers=["CPUExecutionProvider"]
        )
        with Predictor(path) as predictor:
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

            milliseconds = interleaved(
                {
                    "session.run": lambda: session.run(None, {"frames": clip[None]}),
                    "predict(array)": lambda: predictor.predict(clip),
                    "decode + preprocess + session.run": bare_file,
                    "predict(file)": lambda: predictor.predict(video),
                },
                pairs,
            )
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    ratios = {
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
    options = parser.parse_args()
    report = measure(options.pairs)
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report["median_ms"].items():
        print(f"{value:9.2f} ms  {name}")
    for name, held in report["ratios"].items():
        print(f"{name}: {held['ratio']:.3f} (at most {held['bar']})")


if __name__ == "__main__":
    main()
