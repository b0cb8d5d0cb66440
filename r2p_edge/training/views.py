"""Views of videos: clips that are shifted, cropped and lit a little differently each time.

They are read with the package's own reader, as a model's contract says, so that training and
deployment see the same bytes. What the layers that stay as they are make of them is computed once
and kept in a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from r2p_edge.artifact.atomic import atomic_file, atomic_write
from r2p_edge.calibration.matching import Video
from r2p_edge.calibration.ucf101 import check_unreadable
from r2p_edge.errors import VideoError
from r2p_edge.spec import ModelSpec
from r2p_edge.training.files import Trainable
from r2p_edge.video.clip_reader import ClipReader

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
        lit: Tensor = (view - 127.5) * (1 + contrast) + 127.5 * (1 + brightness)
        return lit.clamp(0, 255)


def normalised(clips: Tensor, spec: ModelSpec) -> Tensor:
    """Return pixels from 0 to 255, (N, 3, T, H, W), as the network takes them."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (spec.mean, spec.std))
    result: Tensor = (clips * spec.scale - mean) / std
    return result


class Views(NamedTuple):
    """Inputs of the upper sections: views of some videos, through the lower ones, kept in a file.

    Attributes:
        videos: those that could be read.
        inputs: float16 (videos, views, ...), what the sections above take.
        unreadable: names of the videos that are left out, and why.
    """

    videos: tuple[Video, ...]
    inputs: npt.NDArray[np.float16]
    unreadable: Mapping[str, str]

    def batches(
        self, size: int, rng: np.random.Generator
    ) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
        """Yield one view of each video, in random order: inputs, and numbers of the videos."""
        order = rng.permutation(len(self.videos))
        view = rng.integers(self.inputs.shape[1], size=len(order))
        for first in range(0, len(order), size):
            some = order[first : first + size]
            yield self._at(some, view[some]), some

    def every_view(self, size: int) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
        """Yield all views of all videos in their order, as `batches` does."""
        videos, views = self.inputs.shape[:2]
        for first in range(0, videos * views, size):
            numbers = np.arange(first, min(first + size, videos * views))
            yield self._at(*np.divmod(numbers, views)), numbers // views

    def _at(self, video: npt.NDArray[np.int64], view: npt.NDArray[np.int64]) -> Tensor:
        inputs: Tensor = torch.from_numpy(self.inputs[video, view].astype(np.float32))
        return inputs


class ViewMaker:
    """Reads videos and computes what the lower sections of a network make of them.

    Args:
        trained: the network.
        sections: those of its sections to run; none gives normalised clips.
        folder: where the results are kept, under names made of all that they depend on.
        device: where the network is.
        progress: called with the number of videos that are done, and of all.
    """

    def __init__(
        self,
        trained: Trainable,
        sections: Sequence[str],
        folder: Path,
        device: torch.device,
        progress: Callable[[int, int], None],
    ) -> None:
        self._trained, self._sections, self._folder = trained, tuple(sections), folder
        self._device, self._progress = device, progress

    def views(
        self,
        videos: Sequence[Video],
        count: int = 1,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> Views:
        """Compute views of videos, or read them if they were kept and are whole.

        Args:
            videos: what to read.
            count: views of each video, from moments spread over it.
            augmentation: how views differ; None for the clips as `predict` reads them.
            seed: of the augmentation.

        Raises:
            VideoError: more than a twentieth of the videos cannot be read.
            OutputError: the result cannot be written.
        """
        path = self._folder / f"views-{self._key(videos, count, augmentation, seed)}.npy"
        index = path.with_suffix(".json")
        if (kept := _read(path, index, videos)) is None:
            with atomic_file(path) as draft:
                unreadable = self._write(draft, videos, count, augmentation, seed)
                atomic_write(index, json.dumps(unreadable).encode())
            kept = _read(path, index, videos)
            assert kept is not None
        self._progress(len(videos), len(videos))
        return kept

    def _write(
        self,
        draft: Path,
        videos: Sequence[Video],
        count: int,
        augmentation: Augmentation | None,
        seed: int,
    ) -> dict[str, str]:
        """Write the views of the videos that can be read; return the errors of the others."""
        reader = ClipReader(self._trained.spec)
        failed: list[tuple[str, VideoError]] = []
        inputs, done = None, 0
        for number, video in enumerate(videos):
            self._progress(number, len(videos))
            try:
                clips = reader.read(video.path, clips=count, part=video.part).pixels
            except VideoError as error:
                failed.append((video.name, error))
                check_unreadable(failed, len(videos))
                continue
            made = self._run(clips, augmentation, np.random.default_rng([seed, number]))
            if inputs is None:
                shape = (len(videos), *made.shape)
                inputs = np.lib.format.open_memmap(draft, "w+", np.float16, shape)
            inputs[done] = made
            done += 1
        assert inputs is not None  # else too many could not be read
        inputs.flush()
        return {name: str(error) for name, error in failed}

    def _run(
        self,
        clips: npt.NDArray[np.uint8],
        augmentation: Augmentation | None,
        rng: np.random.Generator,
    ) -> npt.NDArray[np.float16]:
        pixels = torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float()
        if augmentation is not None:
            pixels = torch.stack([augmentation.apply(clip, rng) for clip in pixels])
        with torch.inference_mode():
            x = normalised(pixels, self._trained.spec).to(self._device)
            made: npt.NDArray[np.float16] = (
                self._trained.network(x, self._sections).half().cpu().numpy()
            )
        return made

    def _key(
        self, videos: Sequence[Video], count: int, augmentation: Augmentation | None, seed: int
    ) -> str:
        """Return a name for all that views depend on; the lower sections never change."""
        files = [
            (video.name, video.part, (found := video.path.stat()).st_size, found.st_mtime_ns)
            for video in videos
        ]
        spec = self._trained.spec.to_json()
        sha256 = self._trained.parent["sha256"]
        said = (sha256, self._sections, spec, files, count, augmentation, seed)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _read(path: Path, index: Path, videos: Sequence[Video]) -> Views | None:
    """Return the views that are kept in two files; None if one is missing or damaged."""
    try:
        unreadable = json.loads(index.read_bytes())
        inputs = np.load(path, mmap_mode="r")
        readable = [video for video in videos if video.name not in unreadable]
        return Views(tuple(readable), inputs[: len(readable)], unreadable)
    except Exception:  # of damaged files NumPy raises whatever it stumbles over
        return None


def remove_views(folder: Path) -> None:
    """Remove the views that are kept in a folder, and the folder if it is empty then."""
    for pattern in ("views-*.npy", "views-*.json"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it may have files of others
        folder.rmdir()
