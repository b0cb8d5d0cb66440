"""`annotate`: a film of a video with the label of each moment written into its pictures."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from r2p_edge.artifact.atomic import atomic_file, check_folder
from r2p_edge.errors import OutputError, UsageError, VideoError
from r2p_edge.frame import Image
from r2p_edge.segments.lettering import import_opencv, put_text, text_width
from r2p_edge.segments.sound import Sound
from r2p_edge.segments.texts import caption
from r2p_edge.segments.timelines import HYSTERESIS, MIN_LENGTH, MIN_SCORE, Timeline, timeline
from r2p_edge.segments.windows import SecondsProgress
from r2p_edge.video.container import open_container, seconds_to_wait
from r2p_edge.video.decoding import cause_of
from r2p_edge.video.file import VideoFile
from r2p_edge.video.sampling import ShorterThanDeclaredError
from r2p_edge.video.source import Source, open_source
from r2p_edge.video.streams import video_stream

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

    from r2p_edge.predictor import Predictor

FILMS = (".mp4", ".mkv")
"""Suffixes of the films that can be written. AVI, for one, has no times."""

_UNIT = 90_000  # of a film's times in a second; divisible by most frame rates
_OPTIONS = {"preset": "veryfast", "crf": "20"}
_BT709, _LIMITED = 1, 1  # of FFmpeg's AVColorSpace, AVColorPrimaries, AVColorTransfer...; range
_LETTERS = 16  # heights of a line of text in a picture
_SMALLEST = 10  # pixels of a line of text
_WHITE = (255, 255, 255)
_SHADE = 0.35  # of the picture behind the text


def annotate(
    predictor: Predictor,
    source: str | Path,
    out: str | Path,
    *,
    every: float | None = None,
    min_length: float = MIN_LENGTH,
    hysteresis: float = HYSTERESIS,
    min_score: float = MIN_SCORE,
    fps: float | None = None,
    reuse: Literal["features"] | None = None,
    border: Literal["flush", "wait"] | None = None,
    progress: SecondsProgress | None = None,
) -> Timeline:
    """Write a film of a video with the label and its score in each picture; return its timeline.

    The film has every frame of the video that can be decoded, at its own time, upright and in
    H.264, and its sound, packet by packet. The label of a moment is that of `Timeline.at`.

    Args:
        predictor, source, every, min_length, hysteresis, min_score, fps, reuse, border, progress:
            see `timeline`, also for the errors.
        out: the film; its suffix, one of `FILMS`, chooses the container.

    Raises:
        OutputError: the film cannot be written.
        MissingDependencyError: OpenCV, which draws the text, is not installed.
    """
    out = Path(out)
    check_film(out, source)

    def first_half(done: float, total: float) -> None:
        if progress is not None:
            progress(done, 2 * total)

    found = timeline(
        predictor,
        source,
        every=every,
        min_length=min_length,
        hysteresis=hysteresis,
        min_score=min_score,
        fps=fps,
        reuse=reuse,
        border=border,
        progress=first_half,
    )
    with contextlib.closing(
        open_source(source, fps or predictor.spec.clip.fps, count="packets")
    ) as video:
        # A file that gives other frames than it promised has then been counted: write it anew.
        for _ in range(2):
            with contextlib.suppress(ShorterThanDeclaredError):
                _write_film(video, found, out, progress)
                return found
    raise VideoError(f"{video.name} decodes differently every time; convert the file")


def check_film(out: Path, source: str | Path) -> None:
    """Make sure, before long work, that a film of a video can be written.

    Raises:
        UsageError: it has a suffix of no film, or is the video itself.
        OutputError: it cannot be written there.
        MissingDependencyError: OpenCV, which draws the text, is not installed.
    """
    if out.suffix.lower() not in FILMS:
        raise UsageError(f"{out} is no film of {', '.join(FILMS)}; end the name in one of these")
    if os.path.exists(out) and os.path.exists(source) and out.samefile(source):
        raise UsageError(f"{out} is the video itself; give the film another name")
    import_opencv("the text in a film")
    check_folder(out)


def _write_film(
    video: Source, found: Timeline, out: Path, progress: SecondsProgress | None
) -> None:
    import av

    with contextlib.ExitStack() as stack:
        original, shift, first = None, 0.0, 0.0
        if isinstance(video, VideoFile):
            original = stack.enter_context(_opened_again(video))
            first = video.first
            shift = min(first, (original.start_time or 0) / 1e6)
        draft = stack.enter_context(atomic_file(out))
        film = av.open(f"file:{draft}", "w")  # whatever colons are in its name
        try:
            with _writing(out):
                writer = _FilmWriter(film, video, first - shift, original)
                sound = Sound(original, film, shift, video.name) if original is not None else None
            for number, picture in enumerate(video.read(video.times)):
                moment = float(video.times[number])
                with _writing(out):
                    writer.add(cast(Image, picture), caption(found.at(moment)))
                    if sound is not None:
                        sound.copy(until=moment + first - shift)
                if progress is not None:
                    total = float(video.times[-1])
                    progress(total + moment, 2 * total)
            with _writing(out):
                writer.finish()
                if sound is not None:
                    sound.copy(until=math.inf)
                film.close()
        except BaseException:
            with contextlib.suppress(Exception):
                film.close()
            raise


def _opened_again(video: VideoFile) -> InputContainer:
    """Open the file of a video once more, for its sound, which is read beside the pictures."""
    import av

    try:
        return open_container(video.url, seconds_to_wait(video.url))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{video.name} cannot be opened again ({cause_of(error)}); check the file"
        ) from error


class _FilmWriter:
    """The pictures of a film, each of which is written at its own time.

    Args:
        film: gets a stream for them.
        video: where they come from.
        start: seconds of the film at which they begin.
        original: the file that they are of, if they are of one, for the shape of its pixels.
    """

    def __init__(
        self, film: OutputContainer, video: Source, start: float, original: InputContainer | None
    ) -> None:
        self._film, self._name, self._original = film, video.name, original
        numbers = np.arange(len(video.times))
        stamps = np.rint((video.times + start) * _UNIT).astype(np.int64)
        # Strictly ascending, also where times are nearer to each other than a unit.
        self._stamps = np.maximum.accumulate(stamps - numbers) + numbers
        steps = np.diff(self._stamps)
        last = int(np.median(steps)) if len(steps) else _UNIT // 25
        self._lasts = dict(zip(self._stamps.tolist(), [*steps.tolist(), last]))
        self._written = 0
        self._stream: VideoStream = film.add_stream("libx264", rate=25, options=_OPTIONS)
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, _UNIT)
        self._shape = (0, 0)

    def add(self, picture: Image, text: str) -> None:
        """Append the next picture, uint8 RGB (H, W, 3), with a line of text."""
        import av

        if self._written == 0:
            self._begin(picture)
        picture = write_caption(_fitted(picture, self._shape), text)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED, threads=1
        )
        frame.pts, frame.time_base = int(self._stamps[self._written]), Fraction(1, _UNIT)
        self._written += 1
        self._mux(frame)

    def _begin(self, picture: Image) -> None:
        height, width = picture.shape[:2]
        self._shape = height + height % 2, width + width % 2  # 4:2:0 halves both sides
        context = self._stream.codec_context
        context.height, context.width, context.pix_fmt = *self._shape, "yuv420p"
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        if self._original is not None:
            stream = video_stream(self._original, self._name)
            aspect = stream.sample_aspect_ratio
            if aspect:
                turned = (stream.height, stream.width) == (width, height) and width != height
                context.sample_aspect_ratio = 1 / aspect if turned else aspect

    def finish(self) -> None:
        """Write the pictures that the encoder still holds."""
        self._mux(None)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._lasts[packet.pts]
            self._film.mux(packet)


def _fitted(picture: Image, shape: tuple[int, int]) -> Image:
    """Return a picture in a film's shape: an odd side repeats its last line."""
    height, width = picture.shape[:2]
    if (height + height % 2, width + width % 2) != shape:  # the video changes its size
        import cv2

        return cast(Image, cv2.resize(picture, shape[::-1], interpolation=cv2.INTER_AREA))
    if (height, width) == shape:
        return picture
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")


def write_caption(picture: Image, text: str) -> Image:
    """Return a copy of a picture, uint8 RGB (H, W, 3), with a line of text at its upper left."""
    picture = np.array(picture, order="C")
    height, width = picture.shape[:2]
    size = max(height // _LETTERS, _SMALLEST)
    margin = size // 2
    wide = text_width(text, size)
    if wide > width - 4 * margin:
        size = max(size * max(width - 4 * margin, 1) // wide, _SMALLEST)
        wide = text_width(text, size)
    plate = picture[margin : margin + 2 * size, margin : margin + wide + 2 * margin]
    plate[...] = (plate * _SHADE).astype(np.uint8)
    put_text(picture, text, 2 * margin, margin + round(1.35 * size), size, _WHITE)
    return picture


@contextlib.contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn what FFmpeg says while it writes into an OutputError."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise OutputError(
            f"{out} cannot be written ({cause_of(error)}); make room there or choose another folder"
        ) from error
