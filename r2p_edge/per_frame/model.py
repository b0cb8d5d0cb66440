"""The parts of a per-frame form, opened beside the model that they were exported with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from r2p_edge.artifact.open import EMBEDDED, Artifact, embedded_spec
from r2p_edge.artifact.parts import check_parts
from r2p_edge.errors import ModelError, SpecError
from r2p_edge.per_frame.batches import TailBatches
from r2p_edge.per_frame.rings import SpareSlots
from r2p_edge.runtimes.base import Options, Runtime, closed_model
from r2p_edge.runtimes.part import PartModel, PartTensor
from r2p_edge.spec import ModelSpec, PerFrameSpec, RingSpec
from r2p_edge.spec.per_frame import FRAME_INPUT

_Tensors = Mapping[str, PartTensor]


class PerFrameModel:
    """The parts of a model's per-frame form, which several cameras share.

    Args:
        artifact: the model's file and contract.
        runtime: runs the model.
        options: with which it was opened.

    Attributes:
        spec: contract of the model.
        form: contract of the parts.
        runtime: name of what runs them.
        path: of the model.
        first_name: name of the part that is run at each frame.
        first: that part.
        tail: answers one camera from its features; None where the first part answers.
        spare: slots that the states of all cameras share.

    Raises:
        ModelError: the model has no parts, or they are missing or those of another export.
        SpecError: the contract that was given is not the file's own.
        BackendError: the runtime cannot run them.
    """

    def __init__(self, artifact: Artifact, runtime: type[Runtime], options: Options) -> None:
        self._paths = check_parts(artifact.path, artifact.spec)
        _check_clip(artifact)
        assert artifact.spec.per_frame is not None
        self.spec, self.form = artifact.spec, artifact.spec.per_frame
        self.path, self.runtime = artifact.path, runtime.name
        self._type, self._options = runtime, options
        self._lock = threading.Lock()
        self._closed = False
        self._flush: PartModel | None = None
        self._batches: TailBatches | None = None
        self.first_name = "head" if "head" in self._paths else "step"
        self.first = self._open(self.first_name)
        self.tail = self._open("tail") if "tail" in self._paths else None
        self.spare = SpareSlots(self.form.rings, partial(self.first.memory, shown=False))

    @property
    def flush(self) -> PartModel | None:
        """The part that computes the features at a window's end; None if none are missing."""
        with self._lock:  # opened once, and only where somebody needs it
            if self._flush is None and "flush" in self._paths:
                self._flush = self._open("flush")
            return self._flush

    @property
    def batches(self) -> TailBatches:
        """Calls that answer several cameras."""
        with self._lock:
            if self._batches is None:
                self._batches = TailBatches(self._open("tail", None))
            return self._batches

    def check_open(self) -> None:
        """Make sure that the model was not closed.

        Raises:
            BackendError: it was.
        """
        if self._closed:
            raise closed_model()

    def close(self) -> None:
        """Free the parts, once no camera's state has them. Closing twice is allowed."""
        self._closed = True

    def _open(self, name: str, clips: int | None = 1) -> PartModel:
        self.check_open()
        path = self._paths[name]
        part = self._type.open_part(path, self.spec, self._options, clips=clips)
        inputs, outputs = _expected(self.spec, self.form, name)
        for found, expected in ((part.inputs, inputs), (part.outputs, outputs)):
            if not _fits(found, expected):
                raise ModelError(
                    f"{path} has the tensors {_listed(found)}, and the contract of "
                    f"{self.path.name} has {_listed(expected)} for this part; export them together"
                )
        return part


def _check_clip(artifact: Artifact) -> None:
    """Make sure that a contract that was given shows the parts what they were measured on.

    Raises:
        SpecError: it does not.
    """
    path = artifact.path
    if artifact.carrier == "argument" and path.suffix.lower() in EMBEDDED:
        own = embedded_spec(path)
        if own is not None and own.clip != artifact.spec.clip:
            raise SpecError(
                f"the spec that was given for {path} has the clip {artifact.spec.clip}, and the "
                f"file's own, which its parts were tried with, is {own.clip}; leave out the spec, "
                "or reuse"
            )


def _expected(spec: ModelSpec, form: PerFrameSpec, part: str) -> tuple[_Tensors, _Tensors]:
    """Return the tensors of a part's inputs and outputs, of any number of cameras."""
    aged = {
        f"{ring.name}.ago{age}": _tensor(ring)
        for ring in form.rings
        for age in ring.delays.get(part, ())
    }
    outputs = {spec.output.name: PartTensor((-1, spec.outputs), "float32")}
    if part in ("head", "step"):
        frame = PartTensor((-1, spec.crop.height, spec.crop.width, 3), "uint8")
        written = {ring.name: _tensor(ring) for ring in form.rings}
        return {FRAME_INPUT: frame, **aged}, written | (outputs if part == "step" else {})
    assert form.feature is not None
    feature = form.ring(form.feature)
    if part == "flush":
        return aged, {position_name(form, i): _tensor(feature) for i in form.missing}
    positions = {position_name(form, i): _tensor(feature) for i in range(form.positions)}
    return positions, outputs


def position_name(form: PerFrameSpec, position: int) -> str:
    """Return the name of the tensor of a window's features at a position."""
    return f"{form.feature}.p{position}"


def _tensor(ring: RingSpec) -> PartTensor:
    return PartTensor((-1, *ring.shape), ring.dtype)


def _fits(found: _Tensors, expected: _Tensors) -> bool:
    return found.keys() == expected.keys() and all(
        tensor.dtype == expected[name].dtype and tensor.shape[1:] == expected[name].shape[1:]
        for name, tensor in found.items()
    )


def _listed(tensors: _Tensors) -> str:
    shown = [
        f"{name} {each.dtype} ({', '.join(['N', *map(str, each.shape[1:])])})"
        for name, each in tensors.items()
    ]
    return ", ".join(shown[:3] + (["..."] if len(shown) > 3 else []))
