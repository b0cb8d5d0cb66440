"""An ONNX model of someone else as the source of an export: what can be said before it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from r2p_edge.errors import R2PError, UsageError
from r2p_edge.export.graph.ends import odd_end
from r2p_edge.export.graph.foreign import found_kind
from r2p_edge.export.graph.front import found_front
from r2p_edge.export.graph.layout import input_layout, mean_doubt
from r2p_edge.export.graph.model import (
    INPUT_DTYPES,
    axis_sizes,
    load_onnx,
    network_input,
    network_output,
    network_sizes,
    takes_pixels,
)
from r2p_edge.export.graph.settled import pixels_doubt, with_settled_pixels
from r2p_edge.export.graph.usable import require_usable
from r2p_edge.export.pixels import Pixels, pixels_taken
from r2p_edge.export.source import SourceModel
from r2p_edge.export.verify.foreign_run import foreign_input, foreign_outputs
from r2p_edge.export.verify.synthetic_clips import verification_clips
from r2p_edge.spec import ModelSpec, OutputKind


class OnnxSizes(NamedTuple):
    """Sizes of an ONNX model; None where it leaves them open.

    Attributes:
        outputs: for each clip, which are classes where it ends in a classifier.
        frames: T of its input.
        size: (H, W) of its input.
    """

    outputs: int | None
    frames: int | None
    size: tuple[int, int] | None


class OnnxSource:
    """A file of an ONNX model that no `r2p-edge` wrote.

    Args:
        source: the file, and the name of its output.

    Raises:
        ModelError: the file cannot be read, or the model not be run as the trained network.
        SpecError: its input is no clip of RGB video, or its output no scores.
    """

    def __init__(self, source: SourceModel) -> None:
        self._path = source.path
        self._model = load_onnx(source.path)
        with self._named():
            require_usable(self._model, source.output)
            self._output = network_output(self._model).name
            self.sizes = OnnxSizes(*network_sizes(self._model))

    def kind(self, classes: int | None) -> OutputKind | None:
        """Return the kind of the outputs that the graph shows; None for plain scores.

        Args:
            classes: number of labels, if that is known.

        Raises:
            UsageError: something is made of the scores, and it has to be said what they are.
        """
        with self._named():
            found = found_kind(self._model, self._output)
            if found is None and classes != 1 and (odd := odd_end(self._model, self._output)):
                raise UsageError(
                    f"{_behind(odd)}, so that its outputs may be features or no plain scores; say "
                    "what they are: --output-kind logits (their softmax is taken), probabilities, "
                    "sigmoid or values (numbers, and no classes); or export it up to its "
                    "classifier's scores"
                )
            return found

    def kind_doubt(self, spec: ModelSpec) -> str | None:
        """Return what speaks against a spec whose outputs are logits; None if nothing does."""
        if spec.output.kind != "logits" or found_kind(self._model, self._output) is not None:
            return None
        odd = odd_end(self._model, self._output)
        return f"{_behind(odd)}, and the spec calls its outputs logits" if odd else None

    def pixels(
        self, spec: ModelSpec, word: Pixels | None, *, given: bool
    ) -> tuple[ModelSpec, str | None]:
        """Return the spec with what the network takes, and a warning, if there is one.

        Args:
            spec: the contract so far.
            word: the caller's word about the pixels.
            given: whether the caller gave the whole spec, which is not changed.

        Raises:
            UsageError: the caller has to say it.
            SpecError: no clip of the spec fits the input.
        """
        with self._named():
            if takes_pixels(self._model):
                return pixels_taken(spec, word), None
            front = found_front(self._model, spec)
        if word is not None:
            return pixels_taken(spec, word), pixels_doubt(front, spec, word)
        return with_settled_pixels(front, spec, self._path.name, given=given)

    def mean_doubt(self, spec: ModelSpec) -> str | None:
        """Return the warning of outputs of which the mean is taken; None where it is not.

        Raises:
            ModelError: the model does not run.
        """
        with self._named():
            shape = axis_sizes(network_output(self._model))
            if not shape or None in shape[1:]:
                layout = input_layout(self._model, spec)
                dtype = INPUT_DTYPES[network_input(self._model).type.tensor_type.elem_type]
                clips = foreign_input(verification_clips(spec, 1), spec, layout, dtype)
                shape = list(foreign_outputs(self._path, clips, self._output).outputs.shape)
        return mean_doubt(self._path.name, shape, spec.outputs)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Put the file's name before the errors of a model without one."""
        try:
            yield
        except R2PError as error:
            if str(self._path) in str(error):
                raise
            raise type(error)(f"{self._path.name}: {error}") from error


def _behind(odd: list[str]) -> str:
    return f"behind the network's last layer stands {', then '.join(odd)}"
