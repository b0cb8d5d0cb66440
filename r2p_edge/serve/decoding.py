"""Video files of strangers, decoded in a process of its own with limits on what that may take.

The files are bytes in memory: what they refer to, as playlists do, is not opened. A process that
takes too long, needs too much memory or crashes is replaced, and its video is an error.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from r2p_edge._isolated import Child, ProcessFailedError
from r2p_edge.errors import R2PError, VideoError, one_line
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.container import open_container

_SHOWN = "the video"  # in messages about a file that came without a name

_DECODE = f"{__name__}:decode_videos"
_START_SECONDS = 60.0  # for the process to be ready, on a board that is busy


class DecodingLimits(NamedTuple):
    """Most that the decoding of one video may take.

    Attributes:
        seconds: time.
        memory: bytes beside those that the process has before its first video.
        pixels: of a frame.
    """

    seconds: float = 30.0
    memory: int = 2 << 30
    pixels: int = 4096 * 4096


LIMITS = DecodingLimits()
"""The limits unless others are given."""


class DecodedClip(NamedTuple):
    """The centre clip of a video.

    Attributes:
        pixels: uint8 (1, T, H, W, 3), as `Predictor.pixels` gives them.
        coverage: share of its frames that are real.
        span: seconds of its first and its last frame.
    """

    pixels: npt.NDArray[np.uint8]
    coverage: float
    span: tuple[float, float]


class IsolatedDecoder:
    """Decodes video files one after the other, in a process of its own; safe to share.

    Args:
        spec: contract of the model that is to see them.
        limits: see `DecodingLimits`.
    """

    def __init__(self, spec: ModelSpec, limits: DecodingLimits = LIMITS) -> None:
        self._arguments = {
            "spec": spec.to_json(),
            "memory": limits.memory,
            "pixels": limits.pixels,
        }
        self._limits, self._dtype = limits, spec.frame_dtype
        self._one_at_a_time = threading.Lock()
        self._child: Child | None = None

    def start(self) -> None:
        """Start the process, if there is none, so that the first video need not wait for it.

        Raises:
            ProcessFailedError, OutputError: it cannot be started.
        """
        with self._one_at_a_time:
            self._started()

    def _started(self) -> Child:
        if self._child is None:
            child = Child(_DECODE, self._arguments)
            try:
                child.hear(timeout=_START_SECONDS)
            except BaseException:
                child.close()
                raise
            self._child = child
        return self._child

    def decode(self, content: bytes) -> DecodedClip:
        """Return the centre clip of a video file.

        Args:
            content: the bytes of the file.

        Raises:
            VideoError: they are not those of a video, or decoding it takes more than the limits.
            ProcessFailedError, OutputError: there is no process to decode it.
        """
        text = base64.b64encode(content).decode()
        with self._one_at_a_time:
            child = self._started()
            try:
                answer = child.ask(text, timeout=self._limits.seconds)
            except ProcessFailedError as error:
                self._end()
                raise VideoError(
                    f"{_SHOWN} could not be decoded: {error}; send a shorter or a smaller one"
                ) from error
            except BaseException:
                self._end()
                raise
        if "error" in answer:
            raise VideoError(answer["error"])
        pixels = np.frombuffer(base64.b64decode(answer["pixels"]), self._dtype)
        start, end = answer["span"]
        return DecodedClip(pixels.reshape(answer["shape"]), answer["coverage"], (start, end))

    def _end(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def close(self) -> None:
        """End the process. Calling it twice is allowed."""
        with self._one_at_a_time:
            self._end()


def decode_videos(report: Callable[[Any], None], *, spec: str, memory: int, pixels: int) -> None:
    """Decode videos until there are no more; the side of `IsolatedDecoder` that may fail.

    A line of stdin is a JSON string with a file in base64; for each, reports {"pixels", "shape",
    "coverage", "span"} or {"error"}. The first report says that it is ready.

    Args:
        report: sends plain JSON types to the process that started this one.
        spec: contract as JSON.
        memory, pixels: see `DecodingLimits`.
    """
    import av  # before the limit, and before it is ready

    # They are about strangers' videos, without end; `coverage` says what the client has to know.
    warnings.simplefilter("ignore")
    logging.getLogger("r2p_edge").setLevel(logging.ERROR)
    reader = ClipReader(ModelSpec.from_json(spec))
    _limit_memory(memory)
    report({"ready": av.__version__})
    while line := sys.stdin.readline():
        report(_answer(reader, base64.b64decode(json.loads(line)), pixels))


def _answer(reader: ClipReader, content: bytes, pixels: int) -> dict[str, Any]:
    try:
        _check_size(content, pixels)
        # As a file and never as bytes, which might be taken for a path.
        clips = reader.read(io.BytesIO(content))
        data = base64.b64encode(clips.pixels.tobytes()).decode()
        shape, coverage, span = clips.pixels.shape, clips.coverage, clips.span
    except R2PError as error:
        return {"error": str(error).replace("the file in memory", _SHOWN)}
    except MemoryError:
        return {"error": f"{_SHOWN} needs too much memory to be decoded; send a smaller one"}
    except Exception as error:  # of FFmpeg and whatever it meets in damaged files
        return {"error": f"{_SHOWN} cannot be decoded ({one_line(error)}); send another file"}
    return {"pixels": data, "shape": shape, "coverage": coverage, "span": span}


def _check_size(content: bytes, pixels: int) -> None:
    """Refuse a video whose frames have too many pixels, before one is decoded."""
    import av

    # A file that cannot be opened is refused by its reader, in words of its own.
    with (
        contextlib.suppress(av.FFmpegError, OSError),
        open_container(io.BytesIO(content), None) as container,
    ):
        for stream in container.streams.video:
            if stream.width * stream.height > pixels:
                raise VideoError(
                    f"{_SHOWN} has frames of {stream.width}x{stream.height} pixels; send one whose "
                    f"frames have at most {pixels} pixels"
                )


def _limit_memory(more: int) -> None:
    """Let this process have so many bytes more than it has now, where the system can limit them."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; macOS
        import resource

        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a file of the kernel
            size = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size + more, hard))
