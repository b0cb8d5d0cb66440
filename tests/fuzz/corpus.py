"""Small valid files of every kind that the package reads, made here."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from checkpoints import mindspore_names, write_mindspore_ckpt
from models import brightness_model, spec_of_brightness
from networks import SMALL, random_parameters
from pairs import pair_file, two_models
from paths import ROOT

from r2p_edge.artifact import bundle
from r2p_edge.artifact.sidecar import write_sidecar

# Container, its FFmpeg name where the suffix does not tell it, codec, pixels, size.
_VIDEOS = (
    ("h264.mp4", None, "libx264", "yuv420p"),
    ("fragments.mp4", None, "libx264", "yuv420p"),
    ("h264.mkv", None, "libx264", "yuv420p"),
    ("vp8.webm", None, "libvpx", "yuv420p"),
    ("mpeg4.avi", None, "mpeg4", "yuv420p"),
    ("mjpeg.avi", None, "mjpeg", "yuvj420p"),
    ("h264.ts", None, "libx264", "yuv420p"),
    ("mpeg2.mpg", "vob", "mpeg2video", "yuv420p"),
    ("flv1.flv", None, "flv", "yuv420p"),
    ("mjpeg.mov", None, "mjpeg", "yuvj420p"),
    ("wmv2.wmv", "asf", "wmv2", "yuv420p"),
    ("picture.gif", None, "gif", "rgb8"),
    ("vp8.ogv", "ogg", "libvpx", "yuv420p"),
)


def videos(folder: Path) -> list[Path]:
    """Write a film of 20 frames in each container."""
    made = []
    for name, kind, codec, pixels in _VIDEOS:
        path = folder / name
        options = {"movflags": "frag_keyframe+empty_moov"} if name.startswith("frag") else {}
        with av.open(str(path), "w", format=kind, options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            stream.codec_context.gop_size = 8
            for number in range(20):
                image = np.roll(_picture(), 3 * number, 1)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        made.append(path)
    return made


def images(folder: Path) -> list[Path]:
    """Write a picture in each format that a folder of frames may have."""
    made = []
    for suffix in ("png", "jpg", "bmp", "webp", "tif", "ppm"):
        path = folder / f"picture.{suffix}"
        good, content = cv2.imencode(f".{suffix}", _picture())
        assert good
        path.write_bytes(content.tobytes())
        made.append(path)
    return made


def mindspore_checkpoints(folder: Path) -> list[Path]:
    """Write a MindSpore checkpoint of a small network."""
    return [write_mindspore_ckpt(folder / "net.ckpt", mindspore_names(_parameters()))]


def torch_checkpoints(folder: Path) -> list[Path]:
    """Write PyTorch checkpoints in the zip format and the older one, and a whole module."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in _parameters().items()}
    training = {"epoch": 3, "state_dict": tensors, "best": 0.5}
    torch.save(training, folder / "training.pth")
    torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    network = torch.nn.Module()
    for name in dict.fromkeys(name.rpartition(".")[0] for name in tensors):
        *path, own = name.split(".")
        outer = network
        for part in path:
            if part not in outer._modules:
                outer.add_module(part, torch.nn.Module())
            outer = outer._modules[part]
        outer.add_module(own, _layer(name, tuple(tensors[f"{name}.weight"].shape)))
    network.load_state_dict(tensors, strict=False)  # norms have counters too
    torch.save(network, folder / "module.pth")
    return [folder / f"{name}.pth" for name in ("training", "old", "module")]


def _layer(name: str, shape: tuple[int, ...]) -> Any:
    """Return a layer of an R(2+1)D as a module of PyTorch's."""
    from torch import nn

    if len(shape) == 1:
        return nn.BatchNorm3d(shape[0])
    if len(shape) == 2:
        return nn.Linear(shape[1], shape[0])
    outputs, inputs, *kernel = shape
    step = 2 if name == "conv1" or re.match(r"layer[234]\.0\.(conv1|downsample)\.", name) else 1
    points = kernel == [1, 1, 1]
    stride = tuple(step if size > 1 or points else 1 for size in kernel)
    padding = tuple(size // 2 for size in kernel)
    return nn.Conv3d(inputs, outputs, tuple(kernel), stride, padding, bias=False)


def safetensors(folder: Path) -> list[Path]:
    """Write a .safetensors file of a small network."""
    from safetensors.numpy import save_file

    save_file(_parameters(), folder / "net.safetensors")
    return [folder / "net.safetensors"]


def tensorflow_checkpoints(folder: Path) -> list[Path]:
    """Copy a checkpoint that TensorFlow wrote; its index is damaged."""
    for file in (ROOT / "tests" / "fixtures" / "tensorflow-i3d").glob("model.ckpt.*"):
        shutil.copy(file, folder)
    return [folder / "model.ckpt.index"]


def onnx_models(folder: Path) -> list[Path]:
    """Write an ONNX model that carries its contract."""
    return [brightness_model(folder / "model.onnx")]


def mindirs(folder: Path) -> list[Path]:
    """Copy the MindIR files that `doctor` tries."""
    from r2p_edge.doctor import probe

    assets = Path(probe.__file__).parents[1] / "assets"
    return sorted(assets.glob("*.mindir"))


def openvino_models(folder: Path) -> list[Path]:
    """Write an OpenVINO model that carries its contract."""
    import openvino

    from r2p_edge.artifact.openvino_ir import RT_INFO

    model = openvino.convert_model(brightness_model(folder / "model.onnx"))
    model.set_rt_info(spec_of_brightness().to_json(), list(RT_INFO))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return [folder / "model.xml"]


def plans(folder: Path) -> list[Path]:
    """Write what the header of an engine looks like, of TensorRT and of TensorRT for RTX."""
    tensorrt = b"ftrt" + bytes(20) + bytes((10, 3, 0, 26)) + bytes(range(256)) * 4
    size = 1024
    rtx = bytearray(b"vtrt" + bytes(size - 4))
    rtx[16:24], rtx[24:28], rtx[32] = size.to_bytes(8, "little"), bytes((1, 7, 1, 0)), 0b1100
    files = {"tensorrt.engine": tensorrt, "rtx.engine": bytes(rtx)}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def specs(folder: Path) -> list[Path]:
    """Write a contract by itself."""
    (folder / "spec.json").write_text(spec_of_brightness().to_json())
    return [folder / "spec.json"]


def pairs_of_models(folder: Path) -> list[Path]:
    """Write the file of two models, which lie beside it."""
    two_models(folder)
    return [pair_file(folder / "pair.json", "rgb.onnx", "flow.onnx")]


def sidecars(folder: Path) -> list[Path]:
    """Write the sidecar of a model without one inside; the model lies beside it."""
    model = brightness_model(folder / "model.onnx", embed=False)
    return [write_sidecar(model, spec_of_brightness())]


def weights_files(folder: Path) -> list[Path]:
    """Write a registry, a store's record and the state of a download."""
    from weights_server import registry_of

    from r2p_edge.export.published.fetch import add_weights
    from r2p_edge.export.published.store import WeightsStore

    registry = registry_of(
        folder / "registry.json", {"digest": "sha256-prefix:12345678"}, {"id": "other"}
    )
    file = folder / "fetched.pth"
    file.write_bytes(b"PK\x03\x04" + bytes(60))
    added = add_weights("other", file, store=WeightsStore(folder, registry))
    state = {"url": "https://127.0.0.1/a.pth", "digest": None, "total": 64, "validator": '"e"'}
    part = folder / "net.pth.part.json"
    part.write_text(json.dumps(state))
    return [registry, added.path.with_name("other.pth.json"), part]


def golden_pairs(folder: Path) -> list[Path]:
    """Write golden pairs, of one clip as it is and of two with all that a pair may have."""
    one, two = folder / "one.npz", folder / "two.npz"
    clip = np.zeros((3, 4, 8, 8), np.float32)
    np.savez(one, logits=np.zeros(5, np.float32), input=clip)
    np.savez_compressed(
        two,
        logits=np.zeros((2, 5)),
        input=np.stack([clip, clip]),
        frames=np.zeros((2, 4, 12, 16, 3), np.uint8),
        label=np.array(["walk", "run"]),
    )
    return [one, two]


def features(folder: Path) -> list[Path]:
    """Write the features of a few videos, as `teach` keeps them."""
    from r2p_edge.teaching.feature_file import FeatureSet, record_of_video

    videos = tuple(record_of_video(f"{n}.mp4", "ab"[n % 2], str(n), str(n)) for n in range(4))
    rows = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    model = {"file": "model.onnx", "sha256": "0" * 64}
    FeatureSet(("a", "b"), np.arange(4) % 2, rows, videos, model).save(folder / "kept.npz")
    return [folder / "kept.npz"]


def manifests(folder: Path) -> list[Path]:
    """Write an exported folder's manifest; the files that it lists lie beside it."""
    model = brightness_model(folder / "model.onnx")
    write_sidecar(model, spec_of_brightness())
    bundle.record(folder, [model])
    return [folder / bundle.NAME]


def clip_manifests(folder: Path) -> list[Path]:
    """Write the manifest of calibration clips."""
    from r2p_edge.calibration.manifest import Manifest, SampledVideo

    clips = tuple(SampledVideo(f"a/v{n}.avi", "a", 1 + n, "0" * 64) for n in range(3))
    manifest = Manifest(clips, 0, 2, 0, 0, "train", "trainlist01.txt", "0" * 64)
    (folder / "clips.json").write_text(manifest.to_json())
    return [folder / "clips.json"]


def splits(folder: Path) -> list[Path]:
    """Write a train list and a test list, of UCF101's form."""
    lines = [f"Apply/v_Apply_g{n:02}_c01.avi" for n in range(1, 9)]
    (folder / "testlist01.txt").write_text("\n".join(lines) + "\n")
    (folder / "trainlist01.txt").write_text("".join(f"{line} 1\n" for line in lines))
    return [folder / "testlist01.txt", folder / "trainlist01.txt"]


def archive_files(folder: Path) -> list[Path]:
    """Write lists of an archive, and the journal of a run over one."""
    from r2p_edge.archive.journal import Journal

    (folder / "list.txt").write_text("# mine\na b.mp4\nc.mp4\t1.5\t4\nd.mp4\t\t3\n")
    (folder / "list.csv").write_text('path,start,end\na b.mp4,,\n"c,d.mp4",1.5,4\n')
    with Journal(folder / "results.csv", {"model": "1"}, resume=False) as journal:
        for number in range(3):
            journal.add(number, [{"video": "a", "window": 0, "score": 0.5, "error": None}])
    return [folder / name for name in ("list.txt", "list.csv", "results.csv.journal")]


def results(folder: Path) -> list[Path]:
    """Write results as `predict` and `eval` do, the former with two windows of a video."""
    from answers_of_models import answered, failed, of_pairs, write_rows

    windows = [
        answered("run/a.mp4", "run", window=number, video_label="run", video_score=0.5)
        for number in (0, 1)
    ]
    judged = of_pairs([("run", "walk"), ("walk", "walk")], clip_ranks="1 2")
    files = {"windows": [*windows, failed("b.mp4", "damaged")], "judged": judged}
    return [
        write_rows(folder / f"{name}{suffix}", rows)
        for name, rows in files.items()
        for suffix in (".csv", ".jsonl")
    ]


def labels(folder: Path) -> list[Path]:
    """Write lists of labels in each form."""
    files = {
        "names.txt": "slide left\nslide right\ngrow\n",
        "classInd.txt": "1 Apply\n2 Archery\n3 Band\n",
        "labels.json": '["a", "b", "c"]',
        "index.json": '{"a": 0, "b": 1, "c": 2}',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return [folder / name for name in files]


def _picture() -> np.ndarray:
    rows, columns = np.mgrid[:48, :64]
    return np.stack([rows * 5, columns * 4, (rows + columns) * 2], 2).astype(np.uint8)


def _parameters() -> dict[str, np.ndarray]:
    return random_parameters(**SMALL)


def good_pictures(folder: Path, count: int) -> None:
    """Write `count` good pictures into a folder, numbered from 1 on."""
    good, content = cv2.imencode(".png", _picture())
    assert good
    for number in range(1, count + 1):
        (folder / f"{number}.png").write_bytes(content.tobytes())
