"""Views of videos: clips that are shifted, cropped and lit a little differently each time.

They are read with the package's own reader, as a model's contract says, so that training and
deployment see the same bytes. What the layers that stay as they are make of them is computed once
and kept in a file.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from r2p_edge.artifact.atomic import atomic_file
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import check_unreadable
from r2p_edge.errors import VideoError
from r2p_edge.export.training.network import TrainableNetwork
from r2p_edge.spec import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

_log = logging.getLogger(__name__)

CROP = (0.7, 1.0)
"""Smallest and largest side of a view, as a share of the clip's."""

LIGHT = 0.15
"""Largest change of brightness and contrast, as a share."""


class Augmentation(NamedTuple):
    """Changes of a clip that do not change what happens in it.

    Attributes:
        flip: mirror half of the views. Off by default: left is not right.
        crop: smallest and largest side of a view, as a share of the clip's; (1, 1) keeps it.
        light: largest change of brightness and contrast, as a share.
    """

    flip: bool = False
    crop: tuple[float, float] = CROP
    light: float = LIGHT

    def apply(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        """Return a view of a clip, float32 (3, T, H, W) of pixels from 0 to 255."""
        _, _, height, width = clip.shape
        share = rng.uniform(*self.crop)
        rows, columns = max(1, round(share * height)), max(1, round(share * width))
        top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
        view = clip[:, :, top : top + rows, left : left + columns]
        if view.shape != clip.shape:
            frames = view.transpose(0, 1)
            view = functional.interpolate(
                frames, (height, width), mode="bilinear", align_corners=False
            ).transpose(0, 1)
        if self.flip and rng.random() < 0.5:
            view = view.flip(-1)
        brightness, contrast = rng.uniform(-self.light, self.light, 2)
        return ((view - 127.5) * (1 + contrast) + 127.5 * (1 + brightness)).clamp(0, 255)


def normalised(clips: Tensor, spec: ModelSpec) -> Tensor:
    """Return pixels from 0 to 255, (N, 3, T, H, W), as the network takes them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (spec.mean, spec.std))
    return (clips * spec.scale - mean) / std


class Views:
    """What the lower sections of a network make of the views of some videos, kept in a file.

    Attributes:
        labels: class of each video, as an index.
        inputs: float16 (videos, views, ...), the input of the sections above.
        unreadable: names and errors of videos that are left out.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        inputs: npt.NDArray[np.float16],
        unreadable: Sequence[tuple[str, VideoError]] = (),
    ) -> None:
        self.labels, self.inputs, self.unreadable = labels, inputs, unreadable

    def batches(
        self, size: int, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, Tensor, npt.NDArray[np.int64]]]:
        """Yield one view of each video in random order: inputs, labels and numbers of the videos."""
        order = rng.permutation(len(self.labels))
        view = rng.integers(self.inputs.shape[1], size=len(order))
        for first in range(0, len(order), size):
            some = order[first : first + size]
            chosen = self.inputs[some, view[some]].astype(np.float32)
            yield torch.from_numpy(chosen), torch.from_numpy(self.labels[some]), some


def computed_views(
    network: TrainableNetwork,
    sections: Sequence[str],
    spec: ModelSpec,
    videos: Sequence[Video],
    classes: Sequence[str],
    *,
    count: int,
    augmentation: Augmentation | None,
    seed: int,
    folder: Path,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> Views:
    """Compute what the lower sections make of the views of videos, or read it if it was kept.

    Args:
        network, sections: the network, and those of its sections to run; none gives normalised
            clips.
        spec: how clips are read.
        videos, classes: what to read, and the names of the classes in their order.
        count: views of each video, from moments spread over it.
        augmentation: how views differ; None for the clips as `predict` reads them.
        seed: of the augmentation.
        folder: where the result is kept, under a name made of all that it depends on.
        device: where the network is.
        progress: called with the number of videos that are done, and of all.

    Raises:
        VideoError: more than a twentieth of the videos cannot be read.
        OutputError: the file cannot be written.
    """
    path = folder / f"views-{_digest(network, sections, spec, videos, count, augmentation, seed)}.npy"
    failed: list[tuple[str, VideoError]] = []
    kept: list[int] = []
    if not path.is_file():
        reader = ClipReader(spec)
        with atomic_file(path) as draft:
            inputs = None
            for number, video in enumerate(videos):
                progress(number, len(videos))
                try:
                    pixels = reader.read(video.path, clips=count, part=video.part).pixels
                except VideoError as error:
                    failed.append((video.name, error))
                    continue
                rng = np.random.default_rng([seed, number])
                made = _run(network, sections, spec, pixels, augmentation, rng, device)
                if inputs is None:
                    shape = (len(videos), *made.shape)
                    inputs = np.lib.format.open_memmap(draft, "w+", np.float16, shape)
                inputs[len(kept)] = made
                kept.append(number)
            check_unreadable(failed, len(videos))
            assert inputs is not None
            inputs.flush()
        (path.with_suffix(".json")).write_text(json.dumps(kept))
    kept = json.loads(path.with_suffix(".json").read_text())
    progress(len(videos), len(videos))
    for name, error in failed:
        _log.warning("%s is left out: %s", name, error)
    index = {label: number for number, label in enumerate(classes)}
    labels = np.array([index[videos[number].label] for number in kept], np.int64)
    return Views(labels, np.load(path, mmap_mode="r")[: len(kept)], failed)
