"""A camera, a network stream or a video file, shown with the action that the model sees in it.

    python examples/webcam.py r2p-edge-demo/motion-fp32.onnx 0
    python examples/webcam.py r2p-edge-demo/motion-fp32.onnx video.mp4 --no-window --save out.mp4

The window needs an OpenCV that has one: `pip install -e ".[onnxruntime,webcam]"` in the checkout,
in an environment without opencv-python-headless. Q or Escape closes it. A picture is shown with
each answer, by default one for every frame that the model looks at.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

# Before PyAV, which r2p_edge imports for its first video: in the other order OpenCV's windows hang
# (PyAV-Org/PyAV#978).
import cv2
import numpy as np

from r2p_edge import Prediction, Predictor
from r2p_edge.addresses import without_password
from r2p_edge.artifact.atomic import atomic_file, atomic_write, check_folder
from r2p_edge.errors import OutputError, R2PError

TITLE = "r2p_edge"
WIDTH = 640  # of the picture, in pixels
ROW, BARS = 26, 5  # height of a line below it; classes shown
INK, FAINT, BAR = (235, 235, 235), (150, 150, 150), (190, 130, 60)  # BGR
MILLISECONDS = Fraction(1, 1000)
REFRESH = 0.1  # seconds; the window is drawn at least as often


def drawn(answer: Prediction, rate: float) -> np.ndarray:
    """Return the newest frame with the answer below it: uint8 (H, W, 3), BGR, even sides."""
    live = answer.live
    assert live is not None
    image = cv2.cvtColor(live.image, cv2.COLOR_RGB2BGR)
    height = round(image.shape[0] * WIDTH / image.shape[1]) // 2 * 2
    canvas = np.zeros((height + ROW * (BARS + 2), WIDTH, 3), np.uint8)
    canvas[:height] = cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA)

    def line(number: int, text: str, left: int = 12, color: tuple[int, ...] = INK) -> None:
        at = left, height + ROW * number + 18
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)

    values = answer.kind == "values"
    nothing = "" if values else "none of its classes"
    line(0, "nothing moves" if live.still else answer.label or nothing)
    for number, (label, score) in enumerate(answer.top(BARS), 1):
        if values:  # of no known range
            line(number, f"{answer.shown(score)}  {label}")
            continue
        top = height + ROW * number
        right = 260 + round(score * (WIDTH - 340))
        cv2.rectangle(canvas, (260, top + 5), (right, top + ROW - 5), BAR, cv2.FILLED)
        line(number, label[:28], color=INK if label == answer.label else FAINT)
        line(number, f"{score:.0%}", right + 8, FAINT)
    state = f"{rate:.1f} answers/s   {live.age_ms:.0f} ms from camera to answer"
    lost = f"   {live.skipped} skipped   {live.gaps} gaps" if live.skipped or live.gaps else ""
    line(BARS + 1, state + lost, color=FAINT)
    return canvas


class Parser(argparse.ArgumentParser):
    """A parser whose errors, which repeat what was typed, show no password."""

    def error(self, message: str) -> NoReturn:
        """End the program with a message."""
        super().error(without_password(message))


class NoPicturesError(Exception):
    """A movie has no pictures, and so gets no file."""


class Movie:
    """A video file of pictures, each shown from its own time on.

    A picture whose time is not after that of the one before, as when a camera's clock begins anew,
    is shown right after that one. The file gets its name when it is finished.
    """

    def __init__(self, path: Path) -> None:
        import av

        self._frame = av.VideoFrame.from_ndarray
        check_folder(path)
        try:
            with ExitStack() as stack:
                draft = stack.enter_context(atomic_file(path))
                self._container = av.open(str(draft), "w")
                self._file = stack.pop_all()
        except ValueError as error:  # it knows no file of that kind
            raise OutputError(
                f"{path} cannot be written: FFmpeg knows no videos of that name; end it in .mp4"
            ) from error
        self._stream = self._container.add_stream("libx264", rate=25)
        self._stream.time_base = self._stream.codec_context.time_base = MILLISECONDS
        self._start: float | None = None  # of the source's time, where the file's is 0
        self._newest = -1  # milliseconds in the file
        self._error: OSError | None = None  # the one by which the file has become useless

    def add(self, picture: np.ndarray, seconds: float) -> None:
        """Append a picture, uint8 (H, W, 3) in BGR, at a time of the source's."""
        if self._start is None:
            self._start = seconds
            self._stream.height, self._stream.width = picture.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        frame = self._frame(picture, format="bgr24")
        moment = round((seconds - self._start) * 1000)
        if moment <= self._newest:
            self._start -= (self._newest + 1 - moment) / 1000
            moment = self._newest + 1
        self._newest = moment
        frame.pts, frame.time_base = moment, MILLISECONDS
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            self._error = error
            raise

    def close(self) -> None:
        """Finish the file; there is none if it got no picture, or if it cannot be written."""
        with suppress(NoPicturesError), self._file, self._container:
            if self._error is not None:
                raise self._error
            if self._start is None:
                raise NoPicturesError
            self._container.mux(self._stream.encode(None))


def check_picture(path: Path) -> None:
    """Make sure, before hours of video, that a picture can be written."""
    check_folder(path)
    if not cv2.haveImageWriter(str(path)):
        raise OutputError(
            f"{path} cannot be written: OpenCV knows no pictures of that name; end it in .png"
        )


def show(picture: np.ndarray | None) -> bool:
    """Show a picture, or leave the one before; return whether the window is still wanted."""
    if picture is None:
        return True
    try:
        cv2.imshow(TITLE, picture)
    except cv2.error as error:
        raise SystemExit(
            f"this OpenCV cannot show a window ({error.err}); give --no-window, or have a display "
            "and opencv-python instead of opencv-python-headless"
        ) from error
    key = cv2.waitKey(1) & 0xFF
    return key not in (ord("q"), 27) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) > 0


def as_they_come(
    answers: Iterator[Prediction], pool: ThreadPoolExecutor
) -> Iterator[Prediction | None]:
    """Yield the answers; None every `REFRESH` seconds without one, to keep the window alive."""
    asked = pool.submit(next, answers, None)
    while True:
        try:
            answer = asked.result(timeout=REFRESH)
        except NotYet:
            yield None
            continue
        if answer is None:
            return
        yield answer
        asked = pool.submit(next, answers, None)


def main() -> None:
    """Run the program."""
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="model file")
    parser.add_argument(
        "source", help="number of a camera, network address, GStreamer pipeline, or video file"
    )
    parser.add_argument(
        "--stride", type=int, default=1, help="ticks from one answer to the next (default: 1)"
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=0.0,
        help="show no label below this probability (default: 0)",
    )
    parser.add_argument("--no-window", action="store_true", help="open no window")
    parser.add_argument(
        "--save", type=Path, metavar="FILE.mp4", help="write the pictures as a video"
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE.png", help="write the last picture"
    )
    parser.add_argument("--json", action="store_true", help="print each answer as a line of JSON")
    options = parser.parse_args()
    if options.no_window and not (options.save or options.screenshot or options.json):
        parser.error("--no-window alone shows nothing; add --json, --save or --screenshot")
    source = int(options.source) if options.source.isdecimal() else options.source

    if options.screenshot:
        check_picture(options.screenshot)

    # Path.is_file raises an OSError for a pipeline that is too long for a name.
    is_file = isinstance(source, str) and os.path.isfile(source)

    newest: deque[float] = deque(maxlen=25)  # when the newest answers came
    picture = None
    with ExitStack() as stack:
        predictor = stack.enter_context(Predictor(options.model))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        answers = stack.enter_context(
            predictor.stream(source, stride=options.stride, min_score=options.min_score)
        )
        movie = Movie(options.save) if options.save else None
        if movie:
            stack.callback(movie.close)
        begun = time.monotonic()
        for answer in as_they_come(answers, pool):
            if answer is None:
                if not options.no_window and not show(picture):
                    break
                continue
            if is_file and not options.no_window:  # at the pace of its pictures
                time.sleep(max(begun + answer.span[1] - time.monotonic(), 0))
            newest.append(time.monotonic())
            rate = (len(newest) - 1) / max(newest[-1] - newest[0], 1e-9)
            picture = drawn(answer, rate)
            if options.json:
                print(json.dumps(answer.to_dict()), flush=True)
            if movie:
                movie.add(picture, answer.span[1])
            if not options.no_window and not show(picture):
                break
    if options.screenshot:
        if picture is None:
            raise OutputError(f"{options.screenshot} is not written: no answer came to be drawn")
        _, data = cv2.imencode(options.screenshot.suffix, picture)
        atomic_write(options.screenshot, data.tobytes())


if __name__ == "__main__":
    # As Ctrl-C does, this closes the camera and the file that is written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except R2PError as error:
        print(f"webcam.py: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # FFmpeg's, of the file to save
        sys.exit(f"webcam.py: {error}")
