"""`Predictor`: from a model file to predictions on videos."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from r2p_edge.artifact.two_streams import ModelPath, PairArtifact, models_of, open_model_or_pair
from r2p_edge.errors import ModelError
from r2p_edge.features import Features
from r2p_edge.model_calls import ModelCalls
from r2p_edge.prediction import Prediction, StreamScores, Timing, score_kind
from r2p_edge.reopening import Opening, open_again, sha256_of_opened, stamps_of
from r2p_edge.runtimes.base import Options, closed_model
from r2p_edge.scores import require_scores
from r2p_edge.spec import FusionSpec, ModelSpec, TwoStreamSpec
from r2p_edge.streaming import Streaming
from r2p_edge.two_stream_calls import TwoStreamCalls
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.folder_rate import warn_of_unknown_rate
from r2p_edge.video.seen import frames_to_show

if TYPE_CHECKING:
    from r2p_edge.per_frame.model import PerFrameModel


class Predictor(Streaming):
    """A model, or two that answer together, ready to answer. Safe to call from several threads.

    Calling it is `predict`. It is pickled as its path and options: in each process that it is sent
    to, as by `multiprocessing.Pool.map(predictor.predict, files)`, the model is opened once, and
    only if the file is the same. Copies there are one object, which any of them may close.

    Args:
        path: the model file: `.onnx`, `.xml`, `.engine`, `.plan`, `.mindir` or `.om`; or a folder
            of an export, or a built kit, with one model. A model of colours and one of optical
            flow are two such paths in a list, or the JSON file that names both.
        runtime: library that runs the model; default: the first that takes such a file.
        device: device to run on, e.g. "cpu", "cuda:1"; default: the runtime's first. An
            unavailable device raises BackendError; there is no fallback.
        threads: threads of the runtime; default: one per core that this process may use.
        precision: "fp32", "fp16" or "bf16" to compute in, where the runtime offers the choice
            (OpenVINO does); default: the artifact's own, even if another would be faster.
        cache: existing folder in which OpenVINO keeps compiled models, and TensorRT for RTX
            compiled kernels, to start faster.
        spec: contract of a model that carries none: a `ModelSpec` or the path of its JSON file.
        fusion: how the answers of a list of two become one: a `FusionSpec`, or the published "i3d"
            or "r2plus1d". `runtime` and `device` are then of both, or one of each with "+" between
            them, as in "onnxruntime+openvino".

    Raises:
        ModelNotFoundError: the file does not exist.
        ModelError: the file cannot be used, or its bytes are not those that were exported.
        SpecError: the file carries no spec, its spec contradicts the model, or two models have
            other labels or clips, or are not of colours and flow.
        UsageError: an argument is wrong in itself, or the runtime does not offer the option.
        BackendError: the runtime, the device or the precision is unavailable.
    """

    def __init__(
        self,
        path: ModelPath,
        *,
        runtime: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        precision: Literal["fp32", "fp16", "bf16"] | None = None,
        cache: str | Path | None = None,
        spec: ModelSpec | str | Path | None = None,
        fusion: FusionSpec | str | None = None,
    ) -> None:
        folder = None if cache is None else Path(cache).absolute()
        self._options = Options(device, threads, precision, folder)
        self.closed = False
        self._opening = threading.Lock()
        self._per_frame: PerFrameModel | None = None
        self.artifact = open_model_or_pair(path, spec, fusion)
        # The current folder may be another one later.
        self._paths = [each.path.absolute() for each in models_of(self.artifact)]
        self._stamps = [stamps_of(each) for each in self._paths]
        self.spec = self.artifact.spec
        self._reader = ClipReader(self.spec)
        self._calls: ModelCalls | TwoStreamCalls
        if isinstance(self.artifact, PairArtifact):
            self._calls = TwoStreamCalls.open(self.artifact, runtime, self._options)
        else:
            self._calls = ModelCalls.open(self.artifact, runtime, self._options)
        self._runtime, self.batch = self._calls.runtime, self._calls.batch  # clips in one call

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

    def predict(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
        keep_frames: bool = False,
    ) -> Prediction:
        """Return the classes of a video and their probabilities.

        Args:
            source: path or URL of a video file, folder of images, the bytes of a file or an open
                one, uint8 array or tensor (T, H, W, 3) or (T, 3, H, W), `cv2.VideoCapture`, or
                iterable of frames, which is consumed once: such arrays without T, images of PIL,
                or PyAV's frames, which know their times. An array or iterable of exactly as many
                frames as the model takes is the clip itself, unless their times are known or
                `fps` is given; any other length is a video. A model of optical flow takes one
                frame more than it has frames of flow, and folders of stored flow.
            clips: clips to look at. 1 is the centre clip; more are spread uniformly from the
                first to the last, and their probabilities averaged.
            fps: frames per second of an array, iterable or folder; default: the rate of the
                training videos, with an `UnknownFrameRateWarning` for a folder. A file declares
                its own.
            color: channel order of an array or iterable, "RGB" or "BGR"; a file has none.
            keep_frames: keep what the model saw, for `Prediction.frames`: half a megabyte for 16
                frames of 112x112. Those of a file can be read again without it.

        Raises:
            VideoNotFoundError: the file or folder does not exist.
            VideoError: the source has no frames that can be used.
            UsageError: an argument is wrong in itself.
            ModelError: the model answers NaN, or with features.
            BackendError: the runtime failed.
        """
        require_scores(self.spec, self.artifact.path)
        warn_of_unknown_rate(source, fps, self.spec.clip)
        timing = Timing()
        shown = self._reader.read(source, clips=clips, fps=fps, color=color, timing=timing)
        seen = shown.pixels["rgb"] if self.of_two_streams else shown.pixels
        of_colours = self._reader.of_colours
        frames = frames_to_show(of_colours, source, clips, fps, seen, keep=keep_frames)
        scores, own = self.answered(shown.pixels, timing=timing)
        answer = Prediction(
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
            duration=shown.duration,
            _frames=frames,
        )
        return self.beside(answer, own)

    __call__ = predict

    def outputs(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> npt.NDArray[Any]:
        """Return the model's outputs, (clips, classes), before any softmax; see `predict`.

        Of two streams they are the sum of their logits, or the mean of their probabilities.
        """
        return self.outputs_of(self.pixels(source, clips=clips, fps=fps, color=color))

    def outputs_of(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """Return the outputs for clips as `pixels` gives them; errors are those of `scores`."""
        return self._calls.outputs(pixels, Timing())

    def features(
        self,
        source: Any,
        *,
        clips: int = 1,
        fps: float | None = None,
        color: Literal["RGB", "BGR"] = "RGB",
    ) -> Features:
        """Return what the network makes of the clips that `predict` shows it, with its outputs.

        Arguments and errors are those of `predict`, and those of `features_of`.
        """
        return self.features_of(self.pixels(source, clips=clips, fps=fps, color=color))

    def features_of(self, pixels: npt.NDArray[np.uint8]) -> Features:
        """Return the features of clips as `pixels` gives them.

        Raises:
            VideoError: the pixels have another shape or dtype.
            ModelError: the model was exported without features (export --feature-output), and
                they are not its answer.
            BackendError: the runtime gives answers alone, or failed.
        """
        return self._calls.features(pixels)

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
            uint8 (clips, T, H, W, 3); for a model of optical flow (clips, T, H, W, 2), uint8 or
            float32 as its spec says. For two streams (clips, T) records of both: `["rgb"]` and
            `["flow"]` of it are such arrays.
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
            ModelError: the model answers NaN, or with features.
            BackendError: the runtime failed.
        """
        return self.answered(pixels, timing=timing)[0]

    def answered(
        self, pixels: npt.NDArray[np.uint8], *, timing: Timing | None = None
    ) -> tuple[npt.NDArray[np.float64], StreamScores]:
        """Return the scores of clips, and of two streams also those of each, by its name.

        Arguments and errors are those of `scores`.
        """
        require_scores(self.spec, self.artifact.path)
        timing = Timing() if timing is None else timing
        with timing.stage("total"):
            return self._calls.answered(pixels, timing)

    def beside(self, answer: Prediction, own: StreamScores) -> Prediction:
        """Return an answer with the scores of its streams, from `answered`, beside it."""
        return self._calls.beside(answer, own)

    @property
    def of_two_streams(self) -> bool:
        """True for two models that answer together."""
        return isinstance(self.spec, TwoStreamSpec)

    @property
    def per_frame(self) -> PerFrameModel:
        """The parts of the model's per-frame form, opened when they are asked for first.

        Raises:
            ModelError, SpecError: see `PerFrameModel`.
            BackendError: the predictor is closed, or see there.
        """
        # Streams alone need it.
        from r2p_edge.per_frame.model import PerFrameModel

        with self._opening:
            if self.closed:
                raise closed_model()
            if not isinstance(self._calls, ModelCalls):
                raise ModelError(
                    f"{self.spec.name} is a model of two streams, which has no per-frame form; "
                    "leave out reuse"
                )
            if self._per_frame is None:
                kind = type(self._calls.runtime)
                self._per_frame = PerFrameModel(self.artifact, kind, self._options)
            return self._per_frame

    def warmup(self) -> None:
        """Run the model once on grey clips, so that the first real one is as fast as the next."""
        self._calls.outputs(self.blank(128), Timing())

    def blank(self, level: int = 0) -> npt.NDArray[np.uint8]:
        """Return as many clips as a call takes, as `pixels` gives them, all of one level."""
        return self._reader.blank(self.batch, level)

    def close(self) -> None:
        """Free the model. Calling it twice is allowed."""
        self.closed = True
        self._runtime.close()
        if self._per_frame is not None:
            self._per_frame.close()

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        paths = [str(each.path) for each in models_of(self.artifact)]
        return (
            f"Predictor({paths if len(paths) > 1 else paths[0]!r}, runtime={self.runtime!r}, "
            f"device={self.device!r}, precision={self.precision!r}{closed})"
        )

    def __reduce__(self) -> tuple[Callable[[Opening], Predictor], tuple[Opening]]:
        spec = self.spec.to_json() if self.artifact.carrier == "argument" else None
        fusion = self.spec.fusion if isinstance(self.spec, TwoStreamSpec) else None
        files = tuple(self._paths), self._sha256
        opening = Opening(type(self), *files, self.runtime, self._options, spec, fusion)
        return open_again, (opening,)

    @functools.cached_property
    def _sha256(self) -> tuple[str, ...]:
        """Digests of the model's files, computed when it is pickled first."""
        return tuple(map(sha256_of_opened, self._paths, self._stamps))

    def __enter__(self) -> Predictor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
