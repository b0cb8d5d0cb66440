"""`Predictor`: from a model file to predictions on videos."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.addresses import without_password
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import BackendError, SpecError, VideoError
from r2p_edge.prediction import Prediction, Timing, score_kind
from r2p_edge.runtimes import open_runtime
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.cpu import read_cpu
from r2p_edge.scores import scores_of_outputs
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

if TYPE_CHECKING:
    from r2p_edge.live.predictions import PredictionStream

_log = logging.getLogger(__name__)


class Predictor:
    """A model, ready to answer. Safe to call from several threads.

    Args:
        path: the model file: `.onnx`, `.xml`, `.engine`, `.plan`, `.mindir` or `.om`.
        runtime: library that runs the model; default: the first that takes such a file.
        device: device to run on, e.g. "cpu", "cuda:1"; default: the runtime's first. An
            unavailable device raises BackendError; there is no fallback.
        threads: threads of the runtime; default: one per core that this process may use.
        precision: "fp32", "fp16" or "bf16" to compute in, where the runtime offers the choice
            (OpenVINO does); default: the artifact's own, even if another would be faster.
        cache: existing folder in which OpenVINO keeps compiled models, and TensorRT for RTX
            compiled kernels, to start faster.
        spec: contract of a model that carries none: a `ModelSpec` or the path of its JSON file.

    Raises:
        ModelNotFoundError: the file does not exist.
        ModelError: the file cannot be used, or its bytes are not those that were exported.
        SpecError: the file carries no spec, or its spec contradicts the model.
        UsageError: an argument is wrong in itself, or the runtime does not offer the option.
        BackendError: the runtime, the device or the precision is unavailable.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        runtime: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        precision: Literal["fp32", "fp16", "bf16"] | None = None,
        cache: str | Path | None = None,
        spec: ModelSpec | str | Path | None = None,
    ) -> None:
        options = Options(device, threads, precision, None if cache is None else Path(cache))
        self.artifact = open_artifact(path, spec)
        self.spec = self.artifact.spec
        self._reader = ClipReader(self.spec)
        self._runtime = open_runtime(self.artifact.path, self.spec, runtime, options)
        try:
            self._check_chip()
            self.batch = self._check_model()  # clips that the model takes in one call
        except BaseException:
            self.close()
            raise

    @property
    def runtime(self) -> str:
        """Name of the library that runs the model."""
        return self._runtime.name

    @property
    def device(self) -> str:
        """Name of the device that the model runs on."""
        return self._runtime.device

    @property
    def precision(self) -> str:
        """Precision that the model computes in: "fp32", "tf32", "fp16", "int8", "int8+bf16" ..."""
        return self._runtime.precision

    def _check_model(self) -> int:
        """Return the loaded model's batch size, after checking the model against its spec."""
        loaded, spec, path = self._runtime, self.spec, self.artifact.path
        if self.artifact.carrier == "sidecar" and loaded.contract is not None:
            digest = spec.contract_digest()
            if loaded.contract != digest:
                raise SpecError(
                    f"{path} was built with the contract {loaded.contract[:12]}... but its sidecar "
                    f"has {digest[:12]}..., so it belongs to another model; copy both files again "
                    "from the export"
                )
        batch, expected = loaded.input_shape[0], spec.input_shape
        fits = len(loaded.input_shape) == len(expected) and all(
            found in (-1, size) for found, size in zip(loaded.input_shape[1:], expected[1:])
        )
        if not fits or loaded.input_dtype != spec.input.dtype:
            raise SpecError(
                f"{path} takes {loaded.input_dtype} {loaded.input_shape} but its spec says "
                f"{spec.input.dtype} {expected}; correct clip, crop and input in the spec, or "
                "export the model with it, which puts the normalisation in front (r2p-edge export)"
            )
        self._check_classes(loaded.output_shape)
        return max(batch, 1)

    def _check_chip(self) -> None:
        """Refuse int8 on a CPU that would compute it wrongly, and warn where it may."""
        on_cpu = "cpu" in self.device.split(",")
        if self.spec.precision != "int8" or not on_cpu or read_cpu().int8 != "saturating":
            return
        profile = (self.spec.calibration or {}).get("profile")
        if profile == "cpu":
            raise BackendError(
                f"{self.artifact.path} has int8 weights of 8 bits, whose products overflow the 16 "
                "bits in which this CPU adds them up (it has no VNNI); calibrate it here, or with "
                "--profile cpu-avx2, or use the fp32 model"
            )
        if profile != "cpu-avx2":  # for other chips, or made by someone else
            _log.warning(
                "%s was not made for this CPU, which adds products of int8 in 16 bits (it has no "
                "VNNI), so that sums may overflow; compare its answers with those of the fp32 "
                "model (r2p-edge compare), or calibrate that model here",
                self.artifact.path,
            )

    def _check_classes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] not in (-1, len(self.spec.labels)):
            raise SpecError(
                f"{self.artifact.path} gives an output of shape {shape} but its spec has "
                f"{len(self.spec.labels)} labels; expected (N, {len(self.spec.labels)})"
            )

    def predict(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> Prediction:
        """Return the classes of a video and their probabilities.

        Args:
            source: path or URL of a video file, folder of images, uint8 array (T, H, W, 3), or
                iterable of uint8 frames (H, W, 3), which is consumed once. An array or iterable
                of exactly as many frames as the model takes is the clip itself; any other
                length is a video.
            clips: clips to look at. 1 is the centre clip; more are spread uniformly from the
                first to the last, and their probabilities averaged.
            fps: frames per second of an array, iterable or folder; default: the rate of the
                training videos. A file declares its own.
            color: channel order of an array or iterable, "RGB" or "BGR"; a file has none.

        Raises:
            VideoNotFoundError: the file or folder does not exist.
            VideoError: the source has no frames that can be used.
            UsageError: an argument is wrong in itself.
            ModelError: the model answers NaN.
            BackendError: the runtime failed.
        """
        timing = Timing()
        shown = self._reader.read(source, clips=clips, fps=fps, color=color, timing=timing)
        scores = self.scores(shown.pixels, timing=timing)
        return Prediction(
            labels=self.spec.labels,
            scores=scores.mean(axis=0).astype(np.float32),
            clips=len(scores),
            span=shown.span,
            coverage=shown.coverage,
            truncated=shown.truncated,
            runtime=self.runtime,
            device=self.device,
            precision=self.precision,
            timing=timing,
            kind=score_kind(self.spec.output.kind),
        )

    def outputs(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> npt.NDArray[Any]:
        """Return the model's own outputs, (clips, classes): `predict` before any softmax.

        Arguments and errors are those of `predict`.
        """
        return self._infer(self.pixels(source, clips=clips, fps=fps, color=color), Timing())

    def pixels(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> npt.NDArray[np.uint8]:
        """Return the clips that `predict` shows the model, before any normalisation.

        Arguments and errors are those of `predict`.

        Returns:
            uint8 (clips, T, H, W, 3).
        """
        return self._reader.read(source, clips=clips, fps=fps, color=color).pixels

    def scores(
        self, pixels: npt.NDArray[np.uint8], *, timing: Timing | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the scores of clips that are preprocessed already, (clips, classes).

        They are probabilities, or what `Prediction.kind` says.

        Args:
            pixels: uint8 (clips, T, H, W, 3), as `pixels` gives them.
            timing: gets the time of each stage added, and their total.

        Raises:
            VideoError: the pixels have another shape or dtype.
            ModelError: the model answers NaN.
            BackendError: the runtime failed.
        """
        timing = Timing() if timing is None else timing
        expected = (self.spec.clip.frames, *self._reader.preprocessor.frame_shape)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected or len(pixels) == 0:
            raise VideoError(
                f"clips are {pixels.dtype} {pixels.shape}; expected uint8 (clips, "
                f"{', '.join(map(str, expected))}), as pixels() gives them"
            )
        with timing.stage("total"):
            outputs = self._infer(np.ascontiguousarray(pixels), timing)
            kind, path = self.spec.output.kind, self.artifact.path
            return scores_of_outputs(outputs, kind, path, self.runtime)

    def _infer(self, clips: npt.NDArray[np.uint8], timing: Timing) -> npt.NDArray[Any]:
        """Return the model's outputs for preprocessed clips, (clips, classes)."""
        answers: list[npt.NDArray[Any]] = []
        for first in range(0, len(clips), self.batch):
            group = clips[first : first + self.batch]
            with timing.stage("preprocess"):
                tensors = [self._reader.preprocessor.tensor(clip) for clip in group]
                # A model of a fixed batch gets its last clip repeated; those answers are dropped.
                tensors += tensors[-1:] * (self.batch - len(group))
                batch = tensors[0] if self.batch == 1 else np.concatenate(tensors)
            with timing.stage("inference"):
                output = self._runtime.run(batch)
            self._check_classes(output.shape)
            answers.append(output[: len(group)])
        return np.concatenate(answers)

    def stream(
        self,
        source: int | str | Path,
        *,
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
    ) -> PredictionStream:
        """Return the predictions on a camera, a network stream or a file, as they come.

        A thread of its own reads the source and preprocesses what the model will look at. A
        source that is lost is opened again. Missing frames are never made up: they empty the
        window and are counted (`Live.gaps`).

        Args:
            source: number or device of a camera; address (`rtsp://`, `http://`, `tcp://`, ...);
                GStreamer pipeline that ends in `appsink`; or path of a video file.
            policy: "latest" answers the newest window and skips those that it is too late for,
                "all" answers all and lets the source wait. By default "all" for what has an end.
            timeout: seconds to wait for a connection or the next frame of a network stream. For
                cameras and pipelines OpenCV has fixed times, 10 and 30 s.
            reconnect: seconds without a frame after which a live source is lost for good; with 0
                its first interruption is its end.
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

        Returns:
            An iterator of predictions with `Prediction.live`; `with` or `close` frees the source.

        Raises:
            VideoNotFoundError: there is no such camera or file.
            VideoError: it cannot be opened.
            SpecError: the model reads files by frame number, which a stream cannot provide.
            UsageError: an argument is wrong in itself.
            MissingDependencyError: OpenCV, or its GStreamer, is not installed.
        """
        return self.stream_many(
            {without_password(str(source)): source},
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
        )

    def stream_many(
        self,
        sources: Mapping[str, int | str | Path],
        *,
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
    ) -> PredictionStream:
        """Return the predictions on several sources, each under a name of yours (`Live.source`).

        They take turns. A source that is lost for good is a `StreamWarning` while there are
        others. All other arguments, and the errors, are those of `stream`.
        """
        # With all that reads live sources, which a predictor of videos needs none of.
        from r2p_edge.live.open import open_streams
        from r2p_edge.live.stream import Stream

        return open_streams(
            sources,
            self.spec.clip,
            lambda name: Stream(
                self,
                stride=stride,
                every=every,
                smoothing=smoothing,
                majority=majority,
                hysteresis=hysteresis,
                min_score=min_score,
                motion=motion,
                name=name,
            ),
            policy=policy,
            timeout=timeout,
            reconnect=reconnect,
            transport=transport,
            notify=notify,
        )

    def warmup(self) -> None:
        """Run the model once on a grey clip, so that the first real one is as fast as the next."""
        self.predict(
            np.full((self.spec.clip.frames, *self._reader.preprocessor.frame_shape), 128, np.uint8)
        )

    def close(self) -> None:
        """Free the model. Calling it twice is allowed."""
        self._runtime.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
