"""`ModelSpec`: everything that an artifact's answer depends on, in one frozen object.

A spec travels with its artifact as one JSON object: in the metadata of the formats that have
some, in a sidecar file beside the others.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from r2p_edge.errors import SpecError
from r2p_edge.spec.checks import check_record, check_text, is_number, repeated, shown, some_of
from r2p_edge.spec.flow import FlowSpec, check_flow
from r2p_edge.spec.further import check_feature_outputs
from r2p_edge.spec.parsing import parse_dataclass, parse_json
from r2p_edge.spec.parts import ClipSpec, CropSpec, InputSpec, OutputSpec, ResizeSpec
from r2p_edge.spec.per_frame import PerFrameSpec, check_per_frame, check_per_frame_clip

FORMAT = 1
"""Version of the JSON schema that this package reads and writes."""

# Smallest normal and largest float32: graphs and runtimes normalise with that many digits.
_FLOAT32 = (2.0**-126, (2 - 2.0**-23) * 2.0**127)

_CLIP_BYTES = 1 << 30  # of one clip's pixels: 16 frames of 4096x4096 are 0.8 GB

_ADVICE = (
    "a spec is JSON as ModelSpec.to_json() writes it, for example of "
    "r2p_edge.export.presets.preset(NAME).spec(name=NAME); class names alone belong in --labels"
)

_LATER_RECORDS = ("checks", "feature_outputs")
_RECORDS = ("source", "calibration", "parity", "accuracy", "target", "built_with", *_LATER_RECORDS)
_LEFT_OUT = (*_LATER_RECORDS, "per_frame", "flow")  # of the JSON, where there is none
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
    "flow",
)


@dataclass(frozen=True)
class ModelSpec:
    """Contract of an artifact.

    Attributes:
        labels: one name per output class, in the model's order; none of a model of features.
        scale, mean, std: a pixel p of channel c becomes (p * scale - mean[c]) / std[c]; mean and
            std have a number for each channel.
        precision: of the arithmetic: "fp32", "fp16", "bf16" or "int8".
        graph: "conv3d", or "conv2d" for the form without 3-D convolutions; None if unknown.
        source: file, sha256 and dialect of the trained model.
        calibration, parity, accuracy, target, built_with: records of how the artifact came
            to be; they do not decide its answer.
        checks: what was proven of the contract, and what speaks against it; see `Checks`.
        feature_outputs: shape, without the axis of clips, of each further output that the graph
            has, by name: see `r2p_edge.spec.further`. They do not change the answer.
        per_frame: the graphs with state that lie beside the artifact, see `PerFrameSpec`; its own
            answer does not depend on them.
        flow: how optical flow is made, for a model that takes it in place of colours.

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
    mean: tuple[float, ...]
    std: tuple[float, ...]
    arch: str | None = None
    input: InputSpec = field(default_factory=InputSpec)
    output: OutputSpec = field(default_factory=OutputSpec)
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    graph: Literal["conv3d", "conv2d"] | None = None
    source: Mapping[str, Any] | None = None
    calibration: Mapping[str, Any] | None = None
    parity: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None
    target: Mapping[str, Any] | None = None
    built_with: Mapping[str, Any] | None = None
    checks: Mapping[str, Any] | None = None
    feature_outputs: Mapping[str, Any] | None = None
    per_frame: PerFrameSpec | None = None
    flow: FlowSpec | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "mean", "std"):
            # People often write lists here, which would not equal the tuples read from JSON.
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        check_text("name", self.name)
        if self.arch is not None:
            check_text("arch", self.arch)
        self._check_labels()
        check_flow(self.flow, self.input, self.clip)
        self._check_normalisation()
        self._check_crop()
        self._check_size()
        for name in _RECORDS:
            record = getattr(self, name)
            if record is not None:
                check_record(name, record)
        if self.feature_outputs is not None:
            check_feature_outputs(self.feature_outputs)
        if self.per_frame is not None:
            check_per_frame_clip(self.clip, self.input, self.graph)
            check_per_frame(self.per_frame, self.clip)

    def _check_labels(self) -> None:
        if self.output.kind == "features" and self.labels:
            raise SpecError(
                f"there are labels ({len(self.labels)}) and output.kind is features, which have no "
                "names; leave labels empty, or set output.kind to what the numbers are"
            )
        if self.output.kind != "features" and not self.labels:
            raise SpecError("labels is empty; give one name per output class")
        for number, label in enumerate(self.labels):
            check_text(f"labels[{number}]", label)
        if twice := repeated(self.labels):
            raise SpecError(f"labels has {twice} more than once; names must differ")

    def _check_normalisation(self) -> None:
        for name, count in (("scale", 1), ("mean", self.channels), ("std", self.channels)):
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

    def _check_size(self) -> None:
        size = math.prod(self.input_shape)
        if size > _CLIP_BYTES:
            raise SpecError(
                f"clip.frames is {self.clip.frames} and crop is {self.crop.height}x"
                f"{self.crop.width}, a clip of {size} bytes; make it at most {_CLIP_BYTES}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one clip as the model takes it, with a batch axis of 1."""
        sizes = {"N": 1, "T": self.clip.frames, "C": self.channels}
        sizes |= {"H": self.crop.height, "W": self.crop.width}
        return tuple(sizes[axis] for axis in self.input.layout)

    @property
    def channels(self) -> int:
        """Channels of a frame: three colours, or the two directions of flow."""
        return 3 if self.flow is None else 2

    @property
    def outputs(self) -> int:
        """Numbers that the model answers a clip with: one for each label, or its features."""
        return self.output.features or len(self.labels)

    @property
    def frame_dtype(self) -> Literal["uint8", "float32"]:
        """Dtype of a frame as it is before any normalisation."""
        return "uint8" if self.flow is None else self.flow.levels

    @property
    def pictures(self) -> ClipSpec:
        """The frames of a video that a clip is made of: one more than it has, where it is flow."""
        if self.flow is None:
            return self.clip
        return self.clip.of_frames(self.clip.frames + 1)

    def replace(self, **changes: Any) -> ModelSpec:
        """Return a copy with some fields changed, checked again.

        Raises:
            SpecError: see the class.
        """
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON types, `format` first.

        `checks`, `feature_outputs`, `per_frame`, `flow` and the output's `features` are left out
        where there are none, so that a model without them is written as before they existed.
        """
        fields = json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))
        for name in _LEFT_OUT:
            if fields[name] is None:
                del fields[name]
        if fields["output"]["features"] is None:
            del fields["output"]["features"]
        return {"format": FORMAT, **fields}

    def to_json(self) -> str:
        """Return the spec as a JSON text of one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Any) -> ModelSpec:
        """Return the spec in a parsed JSON object.

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
            newer = type(found) is int and found > FORMAT
            way = "upgrade r2p_edge"
            if not newer:
                way = "export the model again, or write the spec anew, as ModelSpec.to_json() does"
            raise SpecError(
                f"spec format is {shown(found)}, and this version of r2p_edge reads {FORMAT}; {way}"
            )
        return parse_dataclass(cls, data)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "spec") -> ModelSpec:
        """Return the spec in a JSON text; `where` names it in errors.

        Raises:
            SpecError: the text is not JSON, or see `from_dict`.
        """
        return cls._from_value(parse_json(text, where), where)

    @classmethod
    def _from_value(cls, data: Any, where: str) -> ModelSpec:
        try:
            return cls.from_dict(data)
        except SpecError as error:
            raise SpecError(f"{where}: {error}") from error

    @classmethod
    def from_file(cls, path: str | Path) -> ModelSpec:
        """Return the spec in a JSON file, or in the sidecar of an artifact.

        Raises:
            SpecError: the file cannot be read, or see `from_json`.
        """
        try:
            text = Path(path).read_bytes()
        # ValueError: the path has a null character.
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SpecError(f"spec {path!s} cannot be read ({reason}); check the path") from error
        data = parse_json(text, f"spec {path}", advice=_ADVICE)
        if isinstance(data, dict) and isinstance(data.get("spec"), dict):  # an artifact's sidecar
            data = data["spec"]
        if not isinstance(data, dict) or "format" not in data:
            has = "the file is no JSON object"
            if isinstance(data, dict):
                has = f'it has no "format" ({some_of(list(data), 3)})'
            raise SpecError(f"spec {path} is none, as {has}; {_ADVICE}")
        return cls._from_value(data, f"spec {path}")

    def contract_digest(self) -> str:
        """Return the sha256 of the canonical JSON of the fields that decide the answer."""
        import hashlib

        data = self.to_dict()
        contract = {name: data[name] for name in _CONTRACT if name in data}
        text = json.dumps(contract, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
