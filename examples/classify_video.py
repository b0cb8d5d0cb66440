"""The action in a video whose frames you already have, here from OpenCV.

    python examples/classify_video.py r2p-edge-demo/motion-fp32.onnx r2p-edge-demo/videos/grow.mp4

A file is better given to `predict` as it is: it knows its own frame rate, and only the parts that
are needed are decoded. Frames from elsewhere may be any iterable; each is resized as it comes and
then dropped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import cv2
import numpy as np

from r2p_edge import Predictor
from r2p_edge.addresses import without_password


def frames(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yield the frames as OpenCV gives them: uint8 (H, W, 3), BGR."""
    while True:
        good, image = capture.read()
        if not good:
            return
        yield image


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="model file")
    parser.add_argument("video", help="video file that OpenCV can read")
    options = parser.parse_args()

    capture = cv2.VideoCapture(options.video)
    if not capture.isOpened():
        raise SystemExit(f"OpenCV cannot open {without_password(options.video)}")
    with Predictor(options.model) as predictor:
        result = predictor.predict(
            frames(capture), fps=capture.get(cv2.CAP_PROP_FPS) or None, color="BGR"
        )
    capture.release()
    for label, score in result.top(3):
        print(f"{result.shown(score)}  {label}")


if __name__ == "__main__":
    main()
