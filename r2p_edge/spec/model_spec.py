"""ModelSpec: everything that an artifact's answer depends on, in one frozen, self-checking object.

A spec travels with its artifact as one JSON object: in the metadata of the formats that have
some, in a sidecar file beside the others.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import check_record, check_text, check_whole, is_number, plain, shown

FORMAT = 1
"""Version of the JSON schema that this package reads and writes."""

LONGEST_SIDE = 32_767
"""Pixels; the kernels that resize, like OpenCV, count in 16 bits."""

_MAX_FRAMES = 1_000_000  # of the training video that one clip spans: more than nine hours
_FPS = (1e-3, 1e4)
# Smallest normal and largest float32: graphs and runtimes normalise with that many digits.
_FLOAT32 = (2.0**-126, (2 - 2.0**-23) * 2.0**127)


@dataclass(frozen=True)
class InputSpec:
    """The model's input tensor.

    Attributes:
        dtype: "uint8" (pixels, 0 to 255) or "float32".
        layout: order of the axes; N batch, T time, C channel, H height, W width.
        normalized_in_graph: the graph itself applies scale, mean and std; always so for uint8.

    Raises:
        SpecError: `name` is blank, or dtype and normalized_in_graph contradict each other.
    """

    name: str = "frames"
    dtype: Literal["uint8", "float32"] = "uint8"
    layout: Literal["NTHWC", "NCTHW"] = "NTHWC"
    normalized_in_graph: bool = True
    modality: Literal["rgb"] = "rgb"
    color: Literal["RGB", "BGR"] = "RGB"

    def __post_init__(self) -> None:
        check_text("input.name", self.name)
        if self.dtype == "uint8" and not self.normalized_in_graph:
            raise SpecError(
                "input.dtype is uint8 but input.normalized_in_graph is false; pixels are only "
                "normalised by this package into float32, so set one of the two"
            )


@dataclass(frozen=True)
class OutputSpec:
    """The model's output tensor, (N, classes) float32; `kind` says if softmax is still to come.

    Raises:
        SpecError: `name` is blank.
    """

    name: str = "logits"
    kind: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        check_text("output.name", self.name)


@dataclass(frozen=True)
class ClipSpec:
    """Which frames make a clip.

    Attributes:
        frames: T, the clip's length in frames.
        interval: frames of the training video from one frame of the clip to the next.
        fps: rate of the training videos, in frames per second.
        sampling: "time" picks frames by presentation time, as if the source ran at `fps`;
            "index" counts the source's frames whatever their rate.
        order: "temporal", or "lexicographic": frame numbers sorted as text without leading
            zeros (0, 1, 10, 100, 101, ...), as models trained from badly numbered image files
            saw them.
        offsets: "uniform" takes every `interval`-th frame; "linspace" truncates
            linspace(0, w, w // interval) with w = min(frames * interval, length of the video),
            as mindspore-ai/models research/cv/r2plus1d/src/dataset.py does.

    Raises:
        SpecError: a number is out of range, or order and sampling contradict each other.
    """

    frames: int
    interval: int
    fps: float
    sampling: Literal["time", "index"] = "time"
    order: Literal["temporal", "lexicographic"] = "temporal"
    offsets: Literal["uniform", "linspace"] = "uniform"

    def __post_init__(self) -> None:
        check_whole("clip", self, _MAX_FRAMES, "frames", "interval")
        if self.frames * self.interval > _MAX_FRAMES:
            raise SpecError(
                f"clip.frames is {self.frames} and clip.interval is {self.interval}, a clip of "
                f"{self.frames * self.interval} frames; make it at most {_MAX_FRAMES}"
            )
        low, high = _FPS
        if not is_number(self.fps) or not low <= self.fps <= high:
            raise SpecError(
                f"clip.fps is {shown(self.fps)}; it must be a number from {low:g} to {high:g}"
            )
        if self.order == "lexicographic" and self.sampling == "time":
            raise SpecError(
                "clip.order is lexicographic but clip.sampling is time; text order is an order "
                "of frame numbers, so set clip.sampling to index or clip.order to temporal"
            )

    @property
    def tick(self) -> float:
        """Seconds from one frame of the clip to the next."""
        return self.interval / self.fps


@dataclass(frozen=True)
class ResizeSpec:
    """How a frame is resized: "stretch" to height x width, or "short_side" to `size` pixels.

    The long side then becomes floor(size * long / short), as in torchvision's `Resize`.

    Raises:
        SpecError: a number is out of range, missing, or has no meaning in the mode.
    """

    mode: Literal["stretch", "short_side"]
    height: int | None = None
    width: int | None = None
    size: int | None = None
    interpolation: Literal["bilinear"] = "bilinear"

    def __post_init__(self) -> None:
        wanted = ("height", "width") if self.mode == "stretch" else ("size",)
        check_whole("resize", self, LONGEST_SIDE, *wanted)
        for name in {"height", "width", "size"} - set(wanted):
            if getattr(self, name) is not None:
                raise SpecError(f"resize.{name} has no meaning in mode {self.mode}; remove it")


@dataclass(frozen=True)
class CropSpec:
    """The centre crop; `rounding` says where an odd margin goes.

    "half_even" is Python's round() (29.5 becomes 30), "floor" cuts (29.5 becomes 29).

    Raises:
        SpecError: a number is out of range.
    """

    height: int
    width: int
    position: Literal["center"] = "center"
    rounding: Literal["half_even", "floor"] = "half_even"

    def __post_init__(self) -> None:
        check_whole("crop", self, LONGEST_SIDE, "height", "width")


@dataclass(frozen=True)
class ModelSpec:
    """The contract of an artifact.

    Attributes:
        labels: one name per output class, in the model's order.
        scale, mean, std: a pixel p of channel c becomes (p * scale - mean[c]) / std[c].
        precision: of the arithmetic: "fp32", "fp16", "bf16" or "int8".
        graph: "conv3d", or "conv2d" for the form without 3-D convolutions; None if unknown.
        source: file, sha256 and dialect of the trained model.
        calibration, parity, accuracy, target, built_with: records of how the artifact came
            to be; they do not decide its answer.

    Raises:
        SpecError: a field is missing, unknown, of the wrong type or out of range, contradicts
            another, or cannot be written as JSON.
    """

    name: str
    labels: tuple[str, ...]
    clip: ClipSpec
    resize: ResizeSpec
    crop: CropSpec
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    arch: str | None = None
    input: InputSpec = InputSpec()
    output: OutputSpec = OutputSpec()
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    graph: Literal["conv3d", "conv2d"] | None = None
    source: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None
    target: Mapping[str, Any] | None = None
    built_with: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "mean", "std"):
            # Written by hand these are often lists, which would not equal what JSON brings back.
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_text("name", self.name)
        if self.arch is not None:
            check_text("arch", self.arch)
        self._check_labels()
        self._check_normalisation()
        self._check_crop()
        for name in _RECORDS:
            record = getattr(self, name)
            if record is not None:
                check_record(name, record)

    def _check_labels(self) -> None:
        if not self.labels:
            raise SpecError("labels is empty; give one name per output class")
        for number, label in enumerate(self.labels):
            check_text(f"labels[{number}]", label)
        if len(set(self.labels)) != len(self.labels):
            twice = sorted({label for label in self.labels if self.labels.count(label) > 1})
            raise SpecError(f"labels has {', '.join(twice)} more than once; names must differ")

    def _check_normalisation(self) -> None:
        for name, count in (("scale", 1), ("mean", 3), ("std", 3)):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if len(numbers) != count or not all(map(is_number, numbers)):
                what = "a number" if count == 1 else f"{count} numbers"
                raise SpecError(
                    f"{name} is {shown(value)}; it must be {what} and every number must be finite"
                )
        if self.scale <= 0 or min(self.std) <= 0:
            raise SpecError(
                f"scale is {self.scale} and std is {self.std}; all of them must be positive"
            )
        low, high = _FLOAT32
        for mean, std in zip(self.mean, self.std):
            largest = (255.0 * self.scale + abs(mean)) / std
            if not (low <= self.scale / std and low <= std <= high and largest <= high):
                raise SpecError(
                    f"scale is {self.scale}, mean is {self.mean} and std is {self.std}; pixels "
                    "normalised with them leave the range of float32, so correct them"
                )

    def _check_crop(self) -> None:
        # A frame resized by its short side may be portrait: then `size` is its width.
        stretch = self.resize.mode == "stretch"
        height = self.resize.height if stretch else self.resize.size
        width = self.resize.width if stretch else self.resize.size
        assert height is not None
        assert width is not None
        if self.crop.height > height or self.crop.width > width:
            raise SpecError(
                f"crop is {self.crop.height}x{self.crop.width} but the resized frame may be as "
                f"small as {height}x{width}; make the crop smaller or the resize larger"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one clip as the model takes it, batch axis 1 included."""
        sizes = {"N": 1, "T": self.clip.frames, "C": 3, "H": self.crop.height, "W": self.crop.width}
        return tuple(sizes[axis] for axis in self.input.layout)

    def replace(self, **changes: Any) -> ModelSpec:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, `format` first."""
        text = json.dumps(dataclasses.asdict(self), allow_nan=False)
        return {"format": FORMAT, **json.loads(text)}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Any) -> ModelSpec:
        """The spec of a parsed JSON object.

        Raises:
            SpecError: see the class; the message names the field and what is allowed.
        """
        if not isinstance(data, dict):
            raise SpecError(
                f"a spec is a JSON object, not {type(data).__name__}; write its fields into one"
            )
        data = dict(data)
        found = data.pop("format", None)
        # true == 1 in Python.
        if isinstance(found, bool) or found != FORMAT:
            raise SpecError(
                f"spec format is {shown(found)}, this version of r2p_edge reads {FORMAT}; "
                "upgrade r2p_edge or export the model again"
            )
        return typing.cast(ModelSpec, _parse(cls, data, ""))

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "spec") -> ModelSpec:
        """The spec in a JSON text; `where` names it in errors.

        Raises:
            SpecError: the text is not JSON, or see `from_dict`.
        """
        data = parse_json(text, where)
        try:
            return cls.from_dict(data)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error

    @classmethod
    def from_file(cls, path: str | Path) -> ModelSpec:
        """The spec in a JSON file.

        Raises:
            SpecError: the file cannot be read, or see `from_json`.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise SpecError(
                f"spec {path} cannot be read ({error.strerror}); check the path"
            ) from error
        return cls.from_json(text, where=f"spec {path}")

    def contract_digest(self) -> str:
        """sha256 of the canonical JSON of the fields that decide the answer."""
        data = self.to_dict()
        contract = {name: data[name] for name in _CONTRACT}
        text = json.dumps(contract, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_json(text: str | bytes, where: str) -> Any:
    """The value of a JSON text; `where` names it in errors.

    Raises:
        SpecError: the text is not JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise SpecError(f"{where} is not valid JSON (too deeply nested); write it again") from error
    # Beside JSONDecodeError: bytes that are no text, and numbers of thousands of digits.
    except ValueError as error:
        raise SpecError(f"{where} is not valid JSON ({error}); write it again") from error


_RECORDS = ("source", "calibration", "parity", "accuracy", "target", "built_with")
_CONTRACT = (
    "labels",
    "input",
    "output",
    "clip",
    "resize",
    "crop",
    "scale",
    "mean",
    "std",
    "source",
    "precision",
)


def _parse(kind: Any, value: Any, where: str) -> Any:
    """`value` (parsed JSON) as the type `kind`; `where` is its dotted name for errors."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _parse(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    if origin is Literal:
        if value not in arguments:
            allowed = ", ".join(json.dumps(argument) for argument in arguments)
            raise SpecError(f"{where} is {shown(value)}; it must be one of {allowed}")
        return value
    if origin is tuple:
        fixed = arguments[-1] is not Ellipsis
        if not isinstance(value, list) or (fixed and len(value) != len(arguments)):
            length = f"{len(arguments)} items" if fixed else "items"
            raise SpecError(f"{where} is {shown(value)}; it must be a list of {length}")
        return tuple(_parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise SpecError(f"{where} is {shown(value)}; it must be a finite number") from error
    plain = dict if origin is not None else kind
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise SpecError(f"{where} is {shown(value)}; it must be of type {plain.__name__}")
    return value


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise SpecError(f"{where} is {shown(value)}; it must be an object")
    prefix = f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(str(name) for name in value if name not in fields)
    if unknown:
        raise SpecError(
            f"unknown field {', '.join(map(plain, (prefix + name for name in unknown)))}; "
            f"{where or 'a spec'} has {', '.join(fields)}"
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in value
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise SpecError(
            f"missing field {', '.join(prefix + name for name in missing)}; a spec says all that "
            "the answer depends on, so add it"
        )
    kinds = typing.get_type_hints(kind)
    return kind(**{name: _parse(kinds[name], item, prefix + name) for name, item in value.items()})
