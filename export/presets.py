"""Input and labels of each published family of R(2+1)D checkpoints.

A checkpoint has weights only. The presets restate the code that trained it: how frames were
sampled, resized and normalised, and the meaning of the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import r2p_edge
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.labels import read_labels
from r2p_edge.spec import ClipSpec, CropSpec, ModelSpec, ResizeSpec

__all__ = ["PRESETS", "Preset", "fitting_presets", "preset", "presets_of", "read_labels"]

_Channels = tuple[float, float, float]

_LABELS = Path(r2p_edge.__file__).parent / "assets" / "labels"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_KINETICS_MEAN, _KINETICS_STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
_FRAME_128X171 = ResizeSpec(mode="stretch", height=128, width=171)
_CROP_112 = CropSpec(height=112, width=112, rounding="half_even")


@dataclass(frozen=True)
class Preset:
    """The preprocessing and labels of one family; see `ModelSpec` for the fields and their units.

    Attributes:
        name: name of the preset.
        classes: number of outputs.
        description: the weights that it is for, in a few words.
        families: names of the families of networks that were trained so; see
            `checkpoints.families`.
        label_file: file of class names in the package's assets.
        clip, mean, std, resize, crop, scale: as in `ModelSpec`.
    """

    name: str
    classes: int
    description: str
    families: tuple[str, ...]
    label_file: str
    clip: ClipSpec
    mean: _Channels
    std: _Channels
    resize: ResizeSpec = _FRAME_128X171
    crop: CropSpec = _CROP_112
    scale: float = 1 / 255

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        return read_labels(_LABELS / self.label_file)

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
        return ModelSpec(
            name=name,
            arch=arch,
            source=source,
            labels=self.labels if labels is None else tuple(labels),
            **{**fields, **changes},
        )


_ALL = (
    # torchvision/models/video/resnet.py (R2Plus1D_18_Weights: frame_rate=15, clip_len=16) and
    # torchvision/transforms/_presets.py (VideoClassification); its center_crop rounds half to even.
    Preset(
        name="kinetics400-torchvision",
        classes=400,
        description="torchvision's r2plus1d_18",
        families=("torchvision",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=16, interval=1, fps=15.0),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # facebookresearch/VMZ: pt/vmz/func/test.py and pt/vmz/datasets/data.py, whose width of 174 is
    # as written there. Its networks were published for clips of 8 and 32 frames.
    Preset(
        name="kinetics400-vmz",
        classes=400,
        description="VMZ's r2plus1d",
        families=("vmz", "vmz-152"),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=1, fps=15.0),
        resize=ResizeSpec(mode="stretch", height=128, width=174),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # moabitcoin/ig65m-pytorch: ig65m/cli/extract.py and ig65m/transforms.py. It takes every frame
    # of files whose rate the code does not touch; most of Kinetics is 30 frames per second.
    Preset(
        name="kinetics400-ig65m",
        classes=400,
        description="ig65m-pytorch's r2plus1d_34_32_kinetics",
        families=("vmz",),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=32, interval=1, fps=30.0),
        resize=ResizeSpec(mode="short_side", size=128),
        mean=_KINETICS_MEAN,
        std=_KINETICS_STD,
    ),
    # dmlc/gluon-cv: scripts/action-recognition/configuration/r2plus1d_v1_resnet18_kinetics400.yaml
    # and gluoncv/torch/data/video_cls/dataset_classification.py (mode "test" takes every second
    # frame, mode "validation" the centre crop). It counts frames of the downloaded files, whose
    # rate the code does not touch; YouTube's, and so most of Kinetics, is 30 frames per second.
    # Its classes are those of Kinetics in the same order, there spelled with underscores
    # (gluoncv/data/kinetics400/classification.py).
    Preset(
        name="kinetics400-gluoncv",
        classes=400,
        description="GluonCV's r2plus1d_v1",
        families=("gluoncv", "gluoncv-50"),
        label_file="kinetics400.txt",
        clip=ClipSpec(frames=16, interval=2, fps=30.0),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    ),
    # mindspore-ai/models: research/cv/r2plus1d/src/dataset.py (mode "val") and dataset_process.py.
    # Frames are numbered without leading zeros there and sorted as text, and most of UCF101 runs
    # at 25 frames per second.
    Preset(
        name="ucf101-mindspore",
        classes=101,
        description="mindspore-ai/models' r2plus1d",
        families=("mindspore",),
        label_file="ucf101-mindspore.txt",
        clip=ClipSpec(
            frames=16,
            interval=2,
            fps=25.0,
            sampling="index",
            order="lexicographic",
            offsets="linspace",
        ),
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
    ),
    # r2p_edge/calibration/motion.py and examples/train_motion.py.
    Preset(
        name="motion",
        classes=12,
        description="the bundled motion model",
        families=("torchvision",),
        label_file="motion.txt",
        clip=ClipSpec(frames=16, interval=2, fps=25.0),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        resize=ResizeSpec(mode="short_side", size=128),
    ),
)

PRESETS: Mapping[str, Preset] = {item.name: item for item in _ALL}
"""The presets by name."""


def preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UsageError: there is none; the message lists those that exist.
    """
    if name not in PRESETS:
        known = "; ".join(f"{item.name} ({item.description})" for item in _ALL)
        raise UsageError(f"preset {name} does not exist; choose one of {known}")
    return PRESETS[name]


def fitting_presets(
    classes: int, *, frames: int | None = None, size: tuple[int, int] | None = None
) -> list[str]:
    """Return the names of the presets that fit the shapes of a model.

    Args:
        classes: number of outputs.
        frames: T, where the model fixes it (a checkpoint does not, an ONNX model may).
        size: (H, W) of its input in pixels, where the model fixes it.
    """
    return [
        item.name
        for item in _ALL
        if item.classes == classes
        and frames in (None, item.clip.frames)
        and size in (None, (item.crop.height, item.crop.width))
    ]


def presets_of(family: str) -> list[Preset]:
    """Return the presets of networks of a family that others trained; not the bundled model's."""
    return [item for item in _ALL if family in item.families and item.name != "motion"]
