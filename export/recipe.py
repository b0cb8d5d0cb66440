"""The recipe of a family of checkpoints: how its training prepared the input, and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.labels import LISTS, read_labels
from r2p_edge.spec import ClipSpec, CropSpec, FlowSpec, InputSpec, ModelSpec, ResizeSpec

FRAME_128X171 = ResizeSpec(mode="stretch", height=128, width=171)
"""Resize of frames as the R(2+1)D paper has it."""

CROP_112 = CropSpec(height=112, width=112, rounding="half_even")
"""Centre crop of that paper's networks, as torchvision cuts it."""


@dataclass(frozen=True)
class Preset:
    """The preprocessing and labels of one family; see `ModelSpec` for the fields and their units.

    Attributes:
        name: name of the preset.
        classes: number of outputs.
        description: the weights that it is for, in a few words.
        families: names of the families of networks that were trained so; see
            `checkpoints.families`.
        label_file: file of class names in the package's assets; None where the caller has to give
            them.
        clip, mean, std, resize, crop, scale: as in `ModelSpec`.
        color: order of the channels, of mean and std too; see `InputSpec`.
        flow: how optical flow is made, where the networks take it.
        inexact: where its code differs from what a spec can say; "" where it does not.
    """

    name: str
    classes: int
    description: str
    families: tuple[str, ...]
    label_file: str | None
    clip: ClipSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: ResizeSpec = FRAME_128X171
    crop: CropSpec = CROP_112
    scale: float = 1 / 255
    color: Literal["RGB", "BGR"] = "RGB"
    inexact: str = ""
    flow: FlowSpec | None = None

    @property
    def channels(self) -> int:
        """Channels of a frame: 3 of colours, or 2 of optical flow."""
        return len(self.mean)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs.

        Raises:
            UsageError: the package has none.
        """
        if self.label_file is None:
            raise UsageError(
                f"preset {self.name} has no names of classes; give those of the model's "
                f"{self.classes} outputs, in the order of training (--labels FILE)"
            )
        return read_labels(LISTS / self.label_file)

    def spec(
        self,
        *,
        name: str,
        arch: str | None = None,
        source: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
        **changes: Any,
    ) -> ModelSpec:
        """Return the spec of a model of this family.

        Args:
            name, arch, source: see `ModelSpec`.
            labels: names of the classes of a model that was fine-tuned on others.
            changes: any other field of `ModelSpec`.

        Raises:
            SpecError: a field is unknown or contradicts another.
        """
        unknown = sorted(set(changes) - set(ModelSpec.__dataclass_fields__))
        if unknown:
            raise SpecError(f"a spec has no field {', '.join(unknown)}; see ModelSpec")
        fields: dict[str, Any] = {
            field: getattr(self, field)
            for field in ("clip", "resize", "crop", "scale", "mean", "std")
        }
        if self.color != "RGB":
            fields["input"] = InputSpec(color=self.color)
        if self.flow is not None:
            fields["flow"], fields["input"] = self.flow, _flow_input(self.flow)
        return ModelSpec(
            name=name,
            arch=arch,
            source=source,
            labels=self.labels if labels is None else tuple(labels),
            **{**fields, **changes},
        )


def _flow_input(flow: FlowSpec) -> InputSpec:
    """Return the input of a network of flow: levels of 8 bits, or normalised numbers."""
    if flow.levels == "uint8":
        return InputSpec(modality="flow")
    return InputSpec(dtype="float32", layout="NCTHW", normalized_in_graph=False, modality="flow")
