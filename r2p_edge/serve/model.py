"""A `Predictor` as a model of KServe's protocol: its metadata, and answers to requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from r2p_edge._version import __version__
from r2p_edge.errors import R2PError, VideoError
from r2p_edge.model_names import check_model_name
from r2p_edge.predictor import Predictor
from r2p_edge.scores import require_scores, scores_of_outputs
from r2p_edge.serve.decoding import IsolatedDecoder
from r2p_edge.serve.numbers import ServerNumbers
from r2p_edge.serve.protocol import (
    InferRequest,
    OutputTensor,
    ProtocolError,
    WantedOutput,
    array_of,
    best_classes,
    bytes_of,
)
from r2p_edge.serve.turns import NotWantedError, Turns
from r2p_edge.spec.two_streams import require_one_model

FRAMES, VIDEO, SCORES = "frames", "video", "scores"
"""Names of the two inputs, of which a request has one, and of the output of probabilities."""


class ServedPredictor:
    """A model that answers requests one after the other.

    Args:
        predictor: the model.
        name: name of the model on the server; by default that of its contract.
        queue: requests that may wait; beyond, they are refused.
        decoder: decodes videos; by default one with the default limits.
        numbers: counts what is done; by default nobody looks.

    Raises:
        UsageError: a server cannot have a model of that name, or of two streams.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        name: str | None = None,
        queue: int = 16,
        decoder: IsolatedDecoder | None = None,
        numbers: ServerNumbers | None = None,
    ) -> None:
        spec = predictor.spec
        require_one_model(spec, "a server has one")
        require_scores(spec, predictor.artifact.path)
        self.predictor, self.name = predictor, spec.name if name is None else name
        check_model_name(self.name)
        self.turns, self.decoding = Turns(queue), Turns(queue)
        self.decoder = decoder or IsolatedDecoder(spec)
        self.numbers = numbers or ServerNumbers(predictor)
        self.shape = (spec.clip.frames, spec.crop.height, spec.crop.width, spec.channels)
        self.datatype = "UINT8" if spec.frame_dtype == "uint8" else "FP32"  # of the frames
        # A model whose own answers are named "scores" has nothing else to give.
        self.outputs = list(dict.fromkeys([spec.output.name, SCORES]))

    def start(self) -> None:
        """Make the first answer as fast as the next: run the model once, and start the decoder.

        Raises:
            BackendError: the runtime failed, or the decoder cannot be started.
        """
        self.predictor.warmup()
        self.decoder.start()

    def close(self) -> None:
        """End the decoder's process; the predictor is the caller's."""
        self.decoder.close()

    def metadata(self) -> dict[str, Any]:
        """Return the protocol's metadata of the model."""
        classes = self.predictor.spec.outputs
        return {
            "name": self.name,
            "versions": ["1"],
            "platform": f"r2p_edge_{self.predictor.runtime}",
            "inputs": [
                {"name": FRAMES, "datatype": self.datatype, "shape": [-1, *self.shape]},
                {"name": VIDEO, "datatype": "BYTES", "shape": [1]},
            ],
            "outputs": [
                {"name": name, "datatype": "FP32", "shape": [-1, classes]} for name in self.outputs
            ],
        }

    def config(self) -> dict[str, Any]:
        """Return a configuration in the manner of Triton's, with the contract in its parameters."""
        metadata, spec = self.metadata(), self.predictor.spec
        parameters = {
            "r2p_edge.version": __version__,
            "r2p_edge.contract": spec.contract_digest(),
            "r2p_edge.output_kind": spec.output.kind,
            "r2p_edge.spec": spec.to_json(),
        }
        tensors = {
            kind: [
                {
                    "name": each["name"],
                    "data_type": _CONFIG_TYPES[each["datatype"]],
                    "dims": each["shape"],
                }
                for each in metadata[kind + "s"]
            ]
            for kind in ("input", "output")
        }
        return {
            "name": self.name,
            "platform": metadata["platform"],
            "backend": "r2p_edge",
            "max_batch_size": 0,
            **tensors,
            "parameters": {key: {"string_value": text} for key, text in parameters.items()},
        }

    @property
    def longest_json(self) -> int:
        """Most bytes of the JSON of a request: those of one clip written as numbers, and more."""
        digits = 8 if self.datatype == "UINT8" else 16
        return digits * int(np.prod(self.shape)) + (1 << 16)

    def answer(
        self, request: InferRequest, unwanted: Callable[[], bool] = lambda: False
    ) -> tuple[dict[str, Any], list[OutputTensor]]:
        """Return the fields and the outputs of the answer to a request.

        Args:
            request: the request.
            unwanted: returns True once nobody waits for the answer.

        Raises:
            ProtocolError: the request does not fit the model.
            VideoError: the video cannot be decoded.
            QueueFullError, NotWantedError: see `Turns`.
            ModelError, BackendError: the model fails.
        """
        wanted = self._wanted(request)
        pixels, parameters = self._pixels(request, unwanted)
        with self.turns.turn(unwanted) as waited:
            self.numbers.waited.observe(waited, "model")
            if unwanted():
                raise NotWantedError
            started = time.perf_counter()
            values = self.predictor.outputs_of(pixels)
            self.numbers.inference.observe(time.perf_counter() - started)
        self.numbers.clips.add(len(pixels))
        found = self._named(values)
        head: dict[str, Any] = {"model_name": self.name, "model_version": "1"}
        if request.id:
            head["id"] = request.id
        if parameters:
            head["parameters"] = parameters
        return head, [self._output(each, found[each.name]) for each in wanted]

    def _wanted(self, request: InferRequest) -> Sequence[WantedOutput]:
        if request.outputs is None:
            return [WantedOutput(name, request.binary, 0) for name in self.outputs]
        for each in request.outputs:
            if each.name not in self.outputs:
                raise ProtocolError(
                    f"the model has no output {each.name!r}; ask for {' or '.join(self.outputs)}"
                )
        return request.outputs

    def _pixels(
        self, request: InferRequest, unwanted: Callable[[], bool]
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Return the clips of a request, and what the answer says of them."""
        names = list(request.inputs)
        if names == [VIDEO]:
            content = bytes(bytes_of(request.inputs[VIDEO]))
            with self.decoding.turn(unwanted) as waited:
                self.numbers.waited.observe(waited, "decoder")
                started = time.perf_counter()
                clip = self.decoder.decode(content)
                self.numbers.decoding.observe(time.perf_counter() - started)
            start, end = clip.span
            told = {"coverage": clip.coverage, "span_start": start, "span_end": end}
            return clip.pixels, told
        if names != [FRAMES]:
            listed = ", ".join(map(repr, names)) or "none"
            raise ProtocolError(f"the inputs are {listed}; give either {FRAMES} or {VIDEO}")
        pixels = array_of(request.inputs[FRAMES], self.datatype)
        if pixels.shape[1:] != self.shape or len(pixels) == 0:
            raise ProtocolError(
                f"{FRAMES} has the shape {list(pixels.shape)}; it must be [N, "
                f"{', '.join(map(str, self.shape))}], as r2p_edge.Predictor.pixels gives clips"
            )
        return pixels, {}

    def _named(self, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
        predictor = self.predictor
        kind, path = predictor.spec.output.kind, predictor.artifact.path
        scores = scores_of_outputs(values, kind, path, predictor.runtime)
        own = {predictor.spec.output.name: np.asarray(values, np.float32)}
        return {SCORES: scores.astype(np.float32), **own}

    def _output(self, wanted: WantedOutput, values: npt.NDArray[np.float32]) -> OutputTensor:
        if not wanted.classes:
            return OutputTensor(wanted.name, values, wanted.binary)
        labels = self.predictor.spec.labels
        best = best_classes(values, labels, wanted.classes)
        return OutputTensor(wanted.name, best, wanted.binary)


_CONFIG_TYPES = {"UINT8": "TYPE_UINT8", "BYTES": "TYPE_STRING", "FP32": "TYPE_FP32"}


def status_of(error: R2PError) -> int:
    """Return the status of HTTP for an error of this package, by whose fault it is."""
    if isinstance(error, VideoError):
        return 422
    return 400 if isinstance(error, ProtocolError) else 500
