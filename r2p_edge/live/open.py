"""Live sources: what reads each of them, and a `PredictionStream` of several.

PyAV reads files and network streams, because it gives their timestamps; OpenCV reads cameras and
GStreamer pipelines.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from r2p_edge.addresses import shortened
from r2p_edge.errors import UsageError
from r2p_edge.live.arguments import check_number, is_whole
from r2p_edge.live.capture.file import FileCapture
from r2p_edge.live.capture.network import AddressCapture
from r2p_edge.live.capture.opencv import CameraCapture, PipelineCapture
from r2p_edge.live.frame import Capture
from r2p_edge.live.options import StreamOptions
from r2p_edge.live.predictions import Feed, FrameHook, PredictionStream
from r2p_edge.live.stream import Stream
from r2p_edge.live.systemd import Notifier
from r2p_edge.spec import ClipSpec
from r2p_edge.video.clip_reader import check_rate
from r2p_edge.video.file import VideoFile
from r2p_edge.video.folder_rate import warn_of_unknown_rate
from r2p_edge.video.source import is_folder, path_of_uri

if TYPE_CHECKING:
    from r2p_edge.predictor import Predictor

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

_OF_READING = ("fps", "policy", "timeout", "reconnect", "transport")
"""Options of how a source is read; the others are those of `Stream`."""

_GRACE_SECONDS = 1.0
"""Time for a reader that gives up by itself, and then says why, before it counts as hung."""


def open_streams(
    predictor: Predictor,
    sources: Mapping[str, int | str | Path],
    options: Mapping[str, StreamOptions],
    *,
    notify: bool,
    on_frame: FrameHook | None = None,
) -> PredictionStream:
    """Open sources by name and start to read them.

    Args:
        predictor: the model.
        options: options of each source; see `Predictor.stream`, also for the errors.
        notify: see `Predictor.stream`.
        on_frame: is called with each frame and the name of its source, in the reader's thread.
    """
    if not sources:
        raise UsageError("there are no sources to stream; give at least one")
    for name in sources:
        with _about(name, sources):
            _check_options(options[name])
    _check_rates(sources, options, predictor.spec.clip)
    feeds: list[Feed] = []
    try:
        for name, source in sources.items():
            with _about(name, sources):
                feeds.append(_open_feed(predictor, name, source, options[name], on_frame))
    except BaseException:
        for feed in feeds:
            feed.capture.close()
        raise
    notifier = Notifier() if notify else None
    return PredictionStream(feeds, notifier=notifier, batch=predictor.batch)


@contextlib.contextmanager
def _about(name: str, sources: Sized) -> Iterator[None]:
    """Let errors of a source begin with its name, where there are others."""
    try:
        yield
    except UsageError as error:
        raise (UsageError(f"{name}: {error}") if len(sources) > 1 else error) from error


def _check_options(options: StreamOptions) -> None:
    """Check the options that say how a source is read.

    Raises:
        UsageError: one is out of its range.
    """
    policy, transport = options.get("policy"), options.get("transport", "tcp")
    if policy not in (None, "latest", "all"):
        raise UsageError(f"policy is {policy!r}; it must be 'latest' or 'all'")
    if transport not in ("tcp", "udp"):
        raise UsageError(f"transport is {transport!r}; it must be 'tcp' or 'udp'")
    check_number("timeout", options["timeout"], lambda x: x > 0, "a number of seconds above 0")
    check_number(
        "reconnect", options["reconnect"], lambda x: x >= 0, "a number of seconds from 0 on"
    )


def _open_feed(
    predictor: Predictor,
    name: str,
    source: int | str | Path,
    options: StreamOptions,
    on_frame: FrameHook | None,
) -> Feed:
    """Open one source; errors are those of `Predictor.stream`."""
    answers: dict[str, Any] = {
        option: value for option, value in options.items() if option not in _OF_READING
    }
    stream = Stream(predictor, name=name, **answers)
    capture = open_capture(
        source,
        predictor.spec.clip,
        stream.buffer.tick,
        fps=options.get("fps"),
        timeout=options["timeout"],
        reconnect=options["reconnect"],
        transport=options.get("transport", "tcp"),
    )
    policy = options.get("policy")
    if policy == "latest" and not capture.live:
        capture.close()
        raise UsageError(
            f"{name} has an end and waits to be read, so no answer need be skipped; leave "
            "out policy"
        )
    wanted = policy or ("latest" if capture.live else "all")
    patience = capture.timeout + options["reconnect"] + _GRACE_SECONDS
    return Feed(stream, capture, wanted, patience, on_frame=on_frame)


def open_capture(
    source: Any,
    clip: ClipSpec,
    tick: float,
    *,
    fps: float | None = None,
    timeout: float,
    reconnect: float,
    transport: Literal["tcp", "udp"],
    clock: Callable[[], float] = time.monotonic,
) -> Capture:
    """Open the source behind a camera's number or device, an address, a pipeline, or a path.

    Args:
        clip: how the model wants its frames.
        tick: seconds from one frame that is wanted of a file to the next.
        fps, timeout, reconnect, transport: see `Predictor.stream`.
        clock: returns seconds of a monotonic clock.

    Raises:
        VideoNotFoundError: there is no such camera or file.
        VideoError: it cannot be opened, or has no frames.
        UsageError: it is none of these.
        MissingDependencyError: OpenCV, or its GStreamer, is not installed.
    """
    if is_whole(source):
        if source < 0:
            raise UsageError(f"{source} is no camera; cameras have numbers from 0 on")
        return CameraCapture(int(source), reconnect=reconnect, clock=clock)
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(
            f"{shortened(source)} cannot be streamed; give a camera's number, an address, a "
            "pipeline, a file or a folder of images, or push frames of your own into a Stream"
        )
    name = path_of_uri(os.fsdecode(source))
    if _ADDRESS.match(name):
        address = AddressCapture(
            name,
            timeout=timeout,
            reconnect=reconnect,
            transport=transport,
            patience=clip.gap,
            clock=clock,
        )
        if address.live:
            return address
        video = VideoFile(address.name, name, planes=True, container=address.container)
        return FileCapture(name, clip, tick, clock=clock, video=video)
    # A file that exists is a file, also in /dev/shm or with " ! " in its name.
    if not _is_video(name):
        if " ! " in name:
            return PipelineCapture(name, reconnect=reconnect, clock=clock)
        if name.startswith("/dev/"):
            return CameraCapture(name, reconnect=reconnect, clock=clock)
    return FileCapture(name, clip, tick, fps=fps, clock=clock)


def _check_rates(
    sources: Mapping[str, int | str | Path], options: Mapping[str, StreamOptions], clip: ClipSpec
) -> None:
    """Check the rates of folders of images, and warn of those without one.

    Raises:
        UsageError: one is no rate, or is given and there is no folder.
    """
    folders = {
        name: path
        for name, path in sources.items()
        if isinstance(path, (str, os.PathLike)) and is_folder(path)
    }
    rated = [name for name in sources if options[name].get("fps") is not None]
    if rated and not folders.keys() & set(rated):
        raise UsageError(
            f"fps is the rate of a folder of images, and {', '.join(rated)} is none; leave it "
            "out (fps, --fps): cameras, streams and files know their own"
        )
    for name, folder in folders.items():
        check_rate(folder, options[name].get("fps"))
        warn_of_unknown_rate(folder, options[name].get("fps"), clip)


def _is_video(name: str) -> bool:
    """Return True for the path of a file, or of a folder of images."""
    path = Path(name)
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # a name that is too long, as pipelines are, or has a zero byte
        return False
