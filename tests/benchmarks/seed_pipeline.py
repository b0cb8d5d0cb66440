"""The steps of its model's pipeline that the preset `ucf101-mindspore` leaves out, in logits.

    python tests/benchmarks/seed_pipeline.py CLIPS [--checkpoint FILE] [--json]

mindspore-ai/models trains research/cv/r2plus1d on frames that decord resized to 171x128 with
FFmpeg's default (bicubic) scaler and that were kept as JPEG files with red and blue exchanged.
Here frames are resized bilinearly and never coded again. Both pipelines feed the same network the
same frames of each video; the table says how far the logits move, as a share of the largest one.
Without a checkpoint the network is an R(2+1)D-34 with random weights, which shows the size of the
disturbance but not what it costs a trained model in accuracy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
from _harness import machine

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.export.build import build
from r2p_edge.preprocess.preprocessor import Preprocessor
from r2p_edge.runtimes import open_runtime
from r2p_edge.runtimes.base import Options
from r2p_edge.spec import ModelSpec
from r2p_edge.video.sampling import nearest, plan_clips

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import random_parameters


def decoded(video: Path) -> list[av.VideoFrame]:
    with av.open(str(video)) as container:
        return list(container.decode(video=0))


def seed_pixels(frame: av.VideoFrame, *, bicubic: bool, jpeg: bool, spec: ModelSpec) -> np.ndarray:
    """One frame as the seed's training saw it, or with only one of its two accidents."""
    assert spec.resize.height is not None
    assert spec.resize.width is not None
    size = (spec.resize.width, spec.resize.height)
    if bicubic:
        image = frame.to_ndarray(
            width=size[0], height=size[1], format="rgb24", interpolation="BICUBIC"
        )
    else:
        image = cv2.resize(frame.to_ndarray(format="rgb24"), size)
    if jpeg:
        # cv2 takes the red channel for blue when it writes and again when it reads.
        image = cv2.imdecode(cv2.imencode(".jpg", image)[1], cv2.IMREAD_COLOR)
    _, _, top, left = Preprocessor(spec).geometry(frame.height, frame.width)
    return image[top : top + spec.crop.height, left : left + spec.crop.width]


def measure(clips: Path, checkpoint: Path | None) -> dict[str, object]:
    videos = sorted(clips.rglob("*.avi"))
    if not videos:
        raise SystemExit(f"{clips} holds no .avi file; give a folder of UCF101 videos")
    with tempfile.TemporaryDirectory() as name:
        source = checkpoint or Path(name) / "random.safetensors"
        if checkpoint is None:
            from safetensors.numpy import save_file

            save_file(random_parameters((3, 4, 6, 3)), source)
        (built,) = build(source, targets=["onnx"], out=name, preset="ucf101-mindspore").built
        spec = built.spec
        runtime = open_runtime(built.path, spec, None, Options())
        logits: dict[str, list[np.ndarray]] = {}
        with contextlib.closing(runtime), Predictor(built.path) as predictor:
            preprocessor = Preprocessor(predictor.spec)
            for video in videos:
                frames = decoded(video)
                times = np.arange(len(frames)) / spec.clip.fps
                (plan,) = plan_clips(spec.clip, times, 1)
                chosen = [frames[i] for i in nearest(times, plan.times)]
                ours = np.empty((len(chosen), *preprocessor.frame_shape), np.uint8)
                for frame, out in zip(chosen, ours):
                    preprocessor.frame(frame.to_ndarray(format="rgb24"), out)
                logits.setdefault("r2p_edge", []).append(runtime.run(ours[None]))
                for label, bicubic, jpeg in (
                    ("bicubic scaler and JPEG, as the seed", True, True),
                    ("bicubic scaler only", True, False),
                    ("JPEG only", False, True),
                ):
                    clip = np.stack(
                        [seed_pixels(f, bicubic=bicubic, jpeg=jpeg, spec=spec) for f in chosen]
                    )
                    logits.setdefault(label, []).append(runtime.run(clip[None]))
    reference = np.concatenate(logits.pop("r2p_edge"))
    rows = {}
    for label, values in logits.items():
        found = agreement(reference, np.concatenate(values))
        rows[label] = {"max_rel": found.max_rel, "cosine": found.cosine, "top1": found.top1}
    return {
        "machine": machine(),
        "network": str(checkpoint) if checkpoint else "r2plus1d_34, random weights",
        "videos": len(videos),
        "against r2p_edge": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path, help="folder of UCF101 videos")
    parser.add_argument("--checkpoint", type=Path, help="a trained UCF101 checkpoint")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    report = measure(options.clips, options.checkpoint)
    if options.json:
        print(json.dumps(report))
        return
    for label, row in report["against r2p_edge"].items():
        print(
            f"{label}: largest change {row['max_rel']:.1%} of the largest logit, "
            f"cosine {row['cosine']:.5f}, same top-1 on {row['top1']:.0%}"
        )


if __name__ == "__main__":
    main()
