"""Live sources of a `Predictor`: its methods for streams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from r2p_edge.addresses import without_password

if TYPE_CHECKING:
    from r2p_edge.live.options import StreamOptions
    from r2p_edge.live.predictions import FrameHook, PredictionStream
    from r2p_edge.predictor import Predictor


class Streaming:
    """Live sources of a `Predictor`, which inherits this."""

    def stream(
        self,
        source: int | str | Path,
        *,
        fps: float | None = None,
        policy: Literal["latest", "all"] | None = None,
        timeout: float = 10.0,
        reconnect: float = 60.0,
        transport: Literal["tcp", "udp"] = "tcp",
        notify: bool = False,
        stride: int | None = None,
        every: float | None = None,
        smoothing: float | None = None,
        majority: int | None = None,
        hysteresis: float = 0.0,
        min_score: float = 0.0,
        motion: float | None = None,
        reuse: Literal["features"] | None = None,
        border: Literal["flush", "wait"] | None = None,
    ) -> PredictionStream:
        """Return the predictions on a camera, a network stream or a file, as they come.

        A thread of its own reads the source and preprocesses what the model will look at. A
        source that is lost is opened again. Missing frames are never made up: they empty the
        window and are counted (`Live.gaps`). `with` or `close` frees the source.

        Args:
            source: number or device of a camera; address (`rtsp://`, `http://`, `tcp://`, ...);
                GStreamer pipeline that ends in `appsink`; or path of a video or folder of images.
            fps: frames per second of a folder of images; default: the rate of the training videos.
            policy: "latest" answers the newest window and skips those that it is too late for,
                "all" answers all and lets the source wait. By default "all" for what has an end.
            timeout: seconds to wait for a connection or the next frame of a network stream. For
                cameras and pipelines OpenCV has fixed times, 10 and 30 s.
            reconnect: seconds without a frame after which a live source is lost for good; with 0
                its first interruption is its end, with `math.inf` it is waited for without end.
            transport: transport of RTSP.
            notify: send systemd READY when frames come, and WATCHDOG while all goes well.
            stride: ticks (`spec.clip.tick` seconds) from one prediction to the next; by default
                half a clip.
            every: the same in seconds, rounded to ticks.
            smoothing: weight of the newest scores in an exponential mean, above 0 to 1.
            majority: instead, let this many newest windows vote: scores are shares of the votes.
            hysteresis: a label stays until the score of another is higher by more than this.
            min_score: a window whose best score is lower has no label.
            motion: ask the model only where something moves by this many grey levels; 15 does
                well. By default always ask. See `Stream`.
            reuse: "features" keeps the features of each frame for all windows that show it, so
                that a small `stride` costs a fraction; needs a model that was exported with its
                per-frame form. By default each window is answered by itself. See `Stream`.
            border: with `reuse`, "flush" (the default) answers at once, "wait" for the frames
                after a window, which takes less work.

        Raises:
            VideoNotFoundError: there is no such camera or file.
            VideoError: it cannot be opened.
            SpecError: the model reads files by frame number, which a stream cannot provide.
            ModelError, BackendError: the model's per-frame form is missing or that of another
                export, or the runtime cannot run it.
            UsageError: an argument is wrong in itself.
            MissingDependencyError: OpenCV, or its GStreamer, is not installed.
        """
        return self.stream_many(
            {without_password(str(source)): source},
            fps=fps,
            policy=policy,
            timeout=timeout,
            reconnect=reconnect,
            transport=transport,
            notify=notify,
            stride=stride,
            every=every,
            smoothing=smoothing,
            majority=majority,
            hysteresis=hysteresis,
            min_score=min_score,
            motion=motion,
            reuse=reuse,
            border=border,
        )

    def stream_many(
        self,
        sources: Mapping[str, int | str | Path],
        *,
        fps: float | None = None,
        policy: Literal["latest", "all"] | None = None,
        timeout: float = 10.0,
        reconnect: float = 60.0,
        transport: Literal["tcp", "udp"] = "tcp",
        notify: bool = False,
        stride: int | None = None,
        every: float | None = None,
        smoothing: float | None = None,
        majority: int | None = None,
        hysteresis: float = 0.0,
        min_score: float = 0.0,
        motion: float | None = None,
        reuse: Literal["features"] | None = None,
        border: Literal["flush", "wait"] | None = None,
        options: Mapping[str, StreamOptions] | None = None,
        on_frame: FrameHook | None = None,
    ) -> PredictionStream:
        """Return the predictions on several sources, each under a name of yours (`Live.source`).

        They take turns, the one first that was answered longest ago; a model of a fixed batch
        answers as many in one call as are due. A source that is lost for good is a
        `StreamWarning` while there are others; `fps` is of the folders among them. The rest, and
        the errors, are as for `stream`.

        Args:
            options: options of single sources in place of those of all: `{"door": {"stride": 4}}`.
            on_frame: is called with the name of a source and each of its frames, a `LiveFrame`,
                in the thread that reads it, which it must not keep waiting.
        """
        # With all that reads live sources, which a predictor of videos needs none of.
        from r2p_edge.live.open import open_streams
        from r2p_edge.live.options import options_of_each

        common: StreamOptions = {
            "fps": fps,
            "policy": policy,
            "timeout": timeout,
            "reconnect": reconnect,
            "transport": transport,
            "stride": stride,
            "every": every,
            "smoothing": smoothing,
            "majority": majority,
            "hysteresis": hysteresis,
            "min_score": min_score,
            "motion": motion,
            "reuse": reuse,
            "border": border,
        }
        each = options_of_each(sources, common, options or {})
        predictor = cast("Predictor", self)
        return open_streams(predictor, sources, each, notify=notify, on_frame=on_frame)
