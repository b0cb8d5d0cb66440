"""Models of Triton's Python backend, as the repositories of `serve-export` name them.

Triton imports `model.py` of a repository, makes one `TritonPythonModel` for each instance, and
hands it requests. https://github.com/triton-inference-server/python_backend#usage
"""

from __future__ import annotations

import importlib
import json
import time as clocks
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from r2p_edge.errors import R2PError, UsageError
from r2p_edge.live.stream import Stream
from r2p_edge.prediction import Prediction, Timing
from r2p_edge.predictor import Predictor
from r2p_edge.scores import scores_of_outputs
from r2p_edge.serve.decoding import IsolatedDecoder

_BACKEND = "triton_python_backend_utils"  # which only the backend itself can import


class _PythonModel:
    """A model that Triton runs: a subclass makes the outputs of one request."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model.

        Args:
            args: what Triton says of the instance: "model_config", its configuration as JSON;
                "model_repository", the folder of the model; "model_version"; and others.
        """
        self.backend: Any = importlib.import_module(_BACKEND)
        self.config = json.loads(args["model_config"])
        folder = Path(args["model_repository"]) / args["model_version"]
        self.predictor = Predictor(folder / self.parameter("r2p_edge.model"))
        self.predictor.warmup()

    def parameter(self, key: str) -> str:
        """Return a parameter of the configuration."""
        return str(self.config["parameters"][key]["string_value"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer requests, each of which may fail for itself."""
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        try:
            outputs = self.outputs(request)
        except R2PError as error:
            failure = self.backend.TritonError(str(error))
            return self.backend.InferenceResponse(output_tensors=[], error=failure)
        wanted = set(request.requested_output_names())
        tensors = [
            self.backend.Tensor(name, np.ascontiguousarray(value))
            for name, value in outputs.items()
            if name in wanted
        ]
        return self.backend.InferenceResponse(output_tensors=tensors)

    def outputs(self, request: Any) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs of one request by their names."""
        raise NotImplementedError

    def tensor(self, request: Any, name: str) -> npt.NDArray[Any]:
        """Return an input of a request."""
        found = self.backend.get_input_tensor_by_name(request, name).as_numpy()
        return cast("npt.NDArray[Any]", found)

    def finalize(self) -> None:
        """Free the model."""
        self.predictor.close()


class FilesModel(_PythonModel):
    """Answers the bytes of video files, which are decoded in a process of its own."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model; see `_PythonModel`."""
        super().initialize(args)
        self.decoder = IsolatedDecoder(self.predictor.spec)

    def outputs(self, request: Any) -> dict[str, npt.NDArray[Any]]:
        """Return the answer on the video file of one request.

        Raises:
            VideoError: the bytes are not those of a video.
        """
        clip = self.decoder.decode(bytes(self.tensor(request, "video").reshape(-1)[0]))
        outputs = self.predictor.outputs_of(clip.pixels)
        return {
            **answers_of(self.predictor, outputs),
            "coverage": np.array([clip.coverage], np.float32),
        }

    def finalize(self) -> None:
        """Free the model, and end the process that decodes."""
        self.decoder.close()
        super().finalize()


class StreamModel(_PythonModel):
    """Answers live video: the requests of one sequence are the frames of one stream."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the model; see `_PythonModel`."""
        super().initialize(args)
        batching = self.config["sequence_batching"]
        options = json.loads(self.parameter("r2p_edge.stream"))
        self.streams = StreamTable(
            self.predictor,
            options,
            most=int(batching["oldest"]["max_candidate_sequences"]),
            idle=int(batching["max_sequence_idle_microseconds"]) / 1e6,
        )

    def outputs(self, request: Any) -> dict[str, npt.NDArray[Any]]:
        """Return the answer that is due with the frame of one request; zeros where none is.

        Raises:
            VideoError: the frame cannot be one of a video.
            UsageError: its time is not finite.
        """
        answer, outputs = self.streams.push(
            self.tensor(request, "CORRID").reshape(-1)[0].item(),
            self.tensor(request, "frame"),
            float(self.tensor(request, "time").reshape(-1)[0]),
            begins=bool(self.tensor(request, "START").reshape(-1)[0]),
            ends=bool(self.tensor(request, "END").reshape(-1)[0]),
        )
        spec = self.predictor.spec
        label = "" if answer is None else answer.label or ""
        if answer is None:
            nothing = np.zeros(len(spec.labels), np.float32)
            scores, raw, span = nothing, nothing, (0.0, 0.0)
        else:
            scores, raw, span = answer.scores, outputs, answer.span
        return {
            spec.output.name: raw,
            "scores": scores,
            "answered": np.array([answer is not None], np.bool_),
            "label": np.array([label.encode()], np.object_),
            "span": np.array(span, np.float64),
        }


class StreamTable:
    """The streams of a model by the numbers of their sequences.

    Args:
        predictor: the model.
        options: options of `Stream`.
        most: streams that are kept; beyond, the one that was idle for longest is forgotten.
        idle: seconds without a frame after which a stream is forgotten, as Triton does without
            telling.
        clock: gives the time in seconds.
    """

    def __init__(
        self,
        predictor: Predictor,
        options: Mapping[str, Any],
        *,
        most: int,
        idle: float,
        clock: Callable[[], float] = clocks.monotonic,
    ) -> None:
        self._predictor, self._options = predictor, options
        self._most, self._idle, self._clock = most, idle, clock
        self._streams: OrderedDict[Hashable, tuple[_StreamWithOutputs, float]] = OrderedDict()
        _StreamWithOutputs(predictor, options)  # wrong options are told when the model is loaded

    def __len__(self) -> int:
        return len(self._streams)

    def push(
        self,
        number: Hashable,
        frame: npt.NDArray[np.uint8],
        time: float,
        *,
        begins: bool = False,
        ends: bool = False,
    ) -> tuple[Prediction | None, npt.NDArray[np.float32]]:
        """Add a frame to a stream; return the prediction that is due now, and its raw outputs.

        Args:
            number: of the sequence.
            frame, time: see `Stream.add`.
            begins: the stream begins, whatever was there under its number.
            ends: the stream ends with this frame.

        Raises:
            VideoError, UsageError, ModelError, BackendError: see `Stream.push`.
        """
        now = self._clock()
        self._forget_idle(now)
        stream = None if begins else self._streams.pop(number, (None, 0.0))[0]
        if stream is None:
            self._streams.pop(number, None)
            stream = _StreamWithOutputs(self._predictor, self._options)
        if not ends:
            self._streams[number] = stream, now
        while len(self._streams) > self._most:
            self._streams.popitem(last=False)
        return stream.push(frame, time)

    def _forget_idle(self, now: float) -> None:
        while self._streams:
            number, (_, last) = next(iter(self._streams.items()))
            if now - last <= self._idle:
                return
            del self._streams[number]


class _StreamWithOutputs:
    """A stream that also gives the outputs of the model whose scores are in its answer."""

    def __init__(self, predictor: Predictor, options: Mapping[str, Any]) -> None:
        self._predictor = predictor
        self._outputs = np.zeros(len(predictor.spec.labels), np.float32)
        try:
            # It calls `scores`, and what else it asks for is the predictor's.
            self._stream = Stream(cast(Predictor, self), **options)
        except TypeError as error:
            raise UsageError(
                f"the parameter r2p_edge.stream is {json.dumps(dict(options))}, of which "
                f"r2p_edge.Stream says: {error}; give its options"
            ) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def scores(
        self, pixels: npt.NDArray[np.uint8], *, timing: Timing | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the scores of one clip, and keep its outputs; see `Predictor.scores`."""
        predictor = self._predictor
        outputs = predictor.outputs_of(pixels)
        self._outputs = outputs[0]
        path = predictor.artifact.path
        return scores_of_outputs(outputs, predictor.spec.output.kind, path, predictor.runtime)

    def push(
        self, frame: npt.NDArray[np.uint8], time: float
    ) -> tuple[Prediction | None, npt.NDArray[np.float32]]:
        """Add a frame; return the prediction that is due, and the outputs of the last one."""
        return self._stream.push(frame, time), self._outputs


def answers_of(
    predictor: Predictor, outputs: npt.NDArray[Any]
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the outputs of one clip under the model's name for them, and as "scores".

    Args:
        predictor: the model.
        outputs: (1, classes), as `Predictor.outputs_of` gives them.

    Raises:
        ModelError: an output is NaN.
    """
    spec, path = predictor.spec, predictor.artifact.path
    scores = scores_of_outputs(outputs, spec.output.kind, path, predictor.runtime)
    return {
        spec.output.name: outputs[0].astype(np.float32),
        "scores": scores[0].astype(np.float32),
    }
