"""The folder in which a reader of the pages would type their lines."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from checkpoints import mindspore_names, write_mindspore_ckpt
from graded import graded_video
from networks import headless_parameters, random_parameters
from pairs import two_models
from paths import ROOT
from requirements import is_required

from r2p_edge.calibration import motion
from r2p_edge.export.build import build

SMALL = {"counts": (1, 1, 1, 1), "widths": (4, 6, 8, 12)}
MINE = ("fall", "no fall", "wave")
UCF101 = ("ApplyEyeMakeup", "Basketball", "Biking", "YoYo")

# What Python runs at its start: camera 0 is there, and shows one film at its rate. At the film's
# end the program is asked to end, as systemd would.
CAMERA = """
import os, pathlib, signal, time
import cv2

File, exists = cv2.VideoCapture, pathlib.Path.exists


class Camera:
    def __new__(cls, source, *arguments):
        return super().__new__(cls) if source in (0, "/dev/video0") else File(source, *arguments)

    def __init__(self, source, *arguments):
        self.film = File({film!r})

    def grab(self):
        time.sleep(0.04)
        if not self.film.grab():
            os.kill(os.getpid(), signal.SIGTERM)
            return False
        return True

    def __getattr__(self, name):
        return getattr(self.film, name)


cv2.VideoCapture = Camera
pathlib.Path.exists = lambda path: str(path) == "/dev/video0" or exists(path)
"""


@pytest.fixture(scope="session")
def workshop(motion_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name: models, checkpoints, videos and lists. Not to be changed."""
    folder = tmp_path_factory.mktemp("workshop")
    _demo(folder / "r2p-edge-demo", motion_model)
    _checkpoints(folder)
    _models(folder)
    build(motion_model, targets=["onnx"], out=folder / "inside", feature_outputs=True)
    _videos(folder)
    _data_sets(folder)
    for name in ("examples", "tests", "docs", "mkdocs.yml", "r2p_edge"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="session")
def camera(workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH, with which camera 0 is there and shows three seconds."""
    folder = tmp_path_factory.mktemp("camera")
    film = folder / "film.mp4"
    motion.write_video(motion.scene("test", 6), film, np.arange(75) / 25)
    (folder / "sitecustomize.py").write_text(CAMERA.format(film=str(film)), encoding="utf-8")
    return folder


def _demo(folder: Path, model: Path) -> None:
    """Make the files of `r2p-edge demo` that the pages use."""
    (folder / "videos").mkdir(parents=True)
    for file in model.parent.iterdir():
        shutil.copy(file, folder)
    for number, label in enumerate(motion.CLASSES):
        video = folder / "videos" / f"{label.replace(' ', '-')}.mp4"
        motion.write_video(motion.scene("test", number), video)


def _checkpoints(folder: Path) -> None:
    for name, classes in (("r2plus1d_best_map", 101), ("mine", len(MINE))):
        parameters = random_parameters(**SMALL, classes=classes)
        write_mindspore_ckpt(folder / f"{name}.ckpt", mindspore_names(parameters))
    (folder / "mine.txt").write_text("\n".join(MINE), encoding="utf-8")
    write_mindspore_ckpt(folder / "resnet2d3d.ckpt", headless_parameters(widths=(4, 4, 6, 6)))
    weight = np.random.default_rng(0).normal(size=(len(MINE), 6))
    np.savez(folder / "head.npz", weight=weight, bias=np.zeros(len(MINE)))


def _models(folder: Path) -> None:
    parameters = random_parameters(**SMALL, classes=400)
    source = write_mindspore_ckpt(folder / "tv.ckpt", mindspore_names(parameters))
    models = folder / "models"
    contracts: list[tuple[Path, dict[str, Any]]] = [
        (source, {"preset": "kinetics400-torchvision", "name": "tv"}),
        (folder / "r2plus1d_best_map.ckpt", {"preset": "ucf101-mindspore", "name": "ucf101"}),
        (folder / "mine.ckpt", {"preset": "ucf101-mindspore", "labels": folder / "mine.txt"}),
    ]
    for checkpoint, contract in contracts:
        build(checkpoint, targets=["onnx"], out=models, **contract)
    build(models / "ucf101-fp32.onnx", targets=["openvino"], precision="fp16", out=models)
    source.unlink()
    two_models(folder, labels=("jump", "run", "walk", "wave"))


@pytest.fixture(scope="session")
def torch_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint under the name of torchvision's, apart because PyTorch takes long to import."""
    import torch

    parameters = random_parameters(**SMALL, classes=400)
    file = tmp_path_factory.mktemp("torch") / "r2plus1d_18-91a641e6.pth"
    torch.save({name: torch.from_numpy(array) for name, array in parameters.items()}, file)
    return file


def _videos(folder: Path) -> None:
    motion.write_video(motion.scene("test", 0), folder / "video.mp4")
    motion.write_video(motion.scene("test", 1), folder / "other.mp4")
    (folder / "other.mp4").rename(folder / "other.avi")  # FFmpeg looks at the content
    frames = folder / "frames-folder"
    frames.mkdir()
    with av.open(str(folder / "video.mp4")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            cv2.imwrite(str(frames / f"{number:04}.png"), frame.to_ndarray(format="bgr24"))


def _data_sets(folder: Path) -> None:
    """Videos of UCF101, real ones if they are here, with lists; and of the reader's own classes."""
    real = Path(os.environ.get("R2P_TEST_DATA", ROOT.parent / "shared" / "data")) / "ucf101"
    assert real.is_dir() or not is_required("data")
    train, test = [], []
    for label in UCF101:
        target = folder / "UCF-101" / label
        target.mkdir(parents=True)
        names = [f"v_{label}_g{group:02}_c01.avi" for group in (1, 8)]
        found = sorted((real / label).glob("*.avi"))[:2]
        for number, name in enumerate(names):
            if found:
                shutil.copy(found[number % len(found)], target / name)
            else:
                scene = motion.scene("test", 2 * UCF101.index(label) + number)
                motion.write_video(scene, target / "clip.mp4")
                (target / "clip.mp4").rename(target / name)
        test.append(f"{label}/{names[0]}")
        train.append(f"{label}/{names[1]} {1 + UCF101.index(label)}")
    (folder / "testlist01.txt").write_text("\n".join(test), encoding="utf-8")
    (folder / "trainlist01.txt").write_text("\n".join(train), encoding="utf-8")
    for name, first, count in (("mine", 0, 3), ("others", 10, 2), ("later", 20, 2)):
        classes = ("sit down",) if name == "later" else ("point", "wave")
        for label in classes:
            for seed in range(first, first + count):
                levels = (40, 160) * 8 if label == "wave" else (seed,) * 16
                graded_video(folder / name / label / f"{seed}.mp4", levels, seed)
    for number, label in enumerate(MINE):
        (folder / "videos" / label).mkdir(parents=True)
        motion.write_video(motion.scene("test", number), folder / "videos" / label / "0.mp4")
