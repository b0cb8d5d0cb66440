"""The readers of the package: what each is given, and how it is damaged."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import corpus
import texts
import trees
from models import spec_of_brightness

Change = Callable[[bytes, Any], bytes]
"""Takes the bytes of a valid file and a `random.Random`; returns other bytes."""

_BY_SUFFIX: Mapping[str, Change] = {
    ".mp4": trees.BOXES.changed,
    ".mov": trees.BOXES.changed,
    ".mkv": trees.EBML.changed,
    ".webm": trees.EBML.changed,
    ".avi": trees.RIFF.changed,
    ".webp": trees.RIFF.changed,
    ".ts": trees.PACKETS.changed,
    ".flv": trees.FLV.changed,
    ".ogv": trees.OGG.changed,
    ".png": trees.PNG.changed,
    ".jpg": trees.JPEG.changed,
    ".onnx": trees.PROTOBUF.changed,
    ".mindir": trees.PROTOBUF.changed,
    ".ckpt": trees.PROTOBUF.changed,
    ".safetensors": texts.header_changed,
    ".pth": texts.zip_changed,
    ".engine": trees.PLAN.changed,
    ".json": texts.json_changed,
    ".txt": texts.lines_changed,
    ".xml": texts.lines_changed,
}


class Reader(NamedTuple):
    """A reader.

    Attributes:
        seeds: writes valid files into a folder; returns those that are damaged.
        read: reads the file at a path in whatever way a user makes the package read it.
        bound: removes a check of it on purpose, so that fuzzing has something to find.
    """

    seeds: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    bound: Callable[[], None]


def structured(seed: Path) -> Change | None:
    """Return what changes one element of such a file; None for formats whose tree is not known."""
    return _BY_SUFFIX.get(seed.suffix)


def _video(path: Path) -> None:
    from r2p_edge.live.open import open_capture
    from r2p_edge.video.clip_reader import ClipReader

    spec = spec_of_brightness()
    with contextlib.suppress(_Refused):
        ClipReader(spec).read(path, clips=3)
    capture = open_capture(
        path, spec.clip, spec.clip.tick, timeout=5.0, reconnect=0.0, transport="tcp"
    )
    with contextlib.closing(capture):
        for frame in capture.frames():
            frame.image()


def _images(path: Path) -> None:
    from r2p_edge.video.clip_reader import ClipReader

    folder = path.with_name("frames")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    corpus.good_pictures(folder, 7)
    (folder / "3.png").unlink()
    shutil.copy(path, folder / f"3{path.suffix}")
    ClipReader(spec_of_brightness()).read(folder)


def _checkpoint(path: Path) -> None:
    from r2p_edge.export.checkpoints.dialects import canonical_parameters
    from r2p_edge.export.checkpoints.network import network_from_parameters
    from r2p_edge.export.checkpoints.read import read_checkpoint

    named = canonical_parameters(read_checkpoint(path).parameters)
    network_from_parameters(named.parameters, 1e-5)


def _model(path: Path) -> None:
    from r2p_edge import Predictor

    Predictor(path).close()


def _onnx_source(path: Path) -> None:
    from r2p_edge.export.graph.model import load_onnx, network_sizes
    from r2p_edge.export.graph.operators import check_ops

    _model(path)
    model = load_onnx(path)
    network_sizes(model)
    check_ops(model, "tensorrt11")


def _plan(path: Path) -> None:
    from r2p_edge.runtimes.tensorrt.plan_header import read_plan

    read_plan(path)


def _mindir(path: Path) -> None:
    from r2p_edge.artifact.mindir import inputs_of_mindir

    inputs_of_mindir(path)


def _spec(path: Path) -> None:
    from r2p_edge.spec import ModelSpec

    ModelSpec.from_file(path)


def _sidecar(path: Path) -> None:
    from r2p_edge.artifact.open import open_artifact

    open_artifact(path.with_suffix(""))


def _manifest(path: Path) -> None:
    from r2p_edge.artifact import bundle

    bundle.check(path.parent)


def _clip_manifest(path: Path) -> None:
    from r2p_edge.calibration.manifest import Manifest

    Manifest.from_json(path.read_bytes()).record()


def _split(path: Path) -> None:
    from r2p_edge.calibration.split_file import read_split

    read_split(path)


def _labels(path: Path) -> None:
    from r2p_edge.export.labels import read_labels

    read_labels(path)


def _refused() -> type[Exception]:
    from r2p_edge.errors import R2PError

    return R2PError


_Refused = _refused()


# Bounds that are removed on purpose.


def _replace(module: str, name: str, value: Any) -> None:
    import importlib

    target: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        target = getattr(target, part)
    assert hasattr(target, last), name
    setattr(target, last, value)


def _without_the_errors_of_the_decoder() -> None:
    """Let through what FFmpeg raises of a packet that it refuses."""
    from r2p_edge.video.decoding import Decoded

    def unguarded(stream: Any, packet: Any) -> Decoded:
        return Decoded(packet, stream.decode(packet), "")

    _replace("r2p_edge.video.decoding", "_tried", unguarded)


def _without_the_check_of_images() -> None:
    """Let FFmpeg's errors through."""
    import av

    _replace("r2p_edge.video.container", "VideoError", av.FFmpegError)


def _without_the_sizes_of_tensors() -> None:
    """Believe the shape of a tensor, whatever bytes it has."""
    _replace(
        "r2p_edge.export.checkpoints.tensor_file", "StoredTensor.__post_init__", lambda self: None
    )


def _without_the_form_of_messages() -> None:
    """Let through what walking a protobuf message raises."""
    _replace("r2p_edge.artifact.protobuf", "ModelError", LookupError)


def _without_the_error_of_torch() -> None:
    """Let through what PyTorch raises."""
    _replace("r2p_edge.export.checkpoints.torch", "CheckpointError", KeyError)


def _without_the_form_of_the_header() -> None:
    """Let through what a header of another form raises."""
    _replace("r2p_edge.export.checkpoints.safetensors", "CheckpointError", LookupError)


def _without_the_errors_of_json() -> None:
    """Let through what the JSON parser raises."""
    import json

    for module in ("artifact.sidecar", "artifact.bundle", "spec.model_spec"):
        _replace(f"r2p_edge.{module}", "parse_json", lambda text, where: json.loads(text))


def _without_the_kinds_of_clips() -> None:
    """Let through what a manifest of other content raises."""
    _replace("r2p_edge.calibration.manifest", "VideoError", LookupError)


def _without_the_form_of_lines() -> None:
    """Let through what a line of another form raises."""
    for module in ("split_file", "lists.table", "lists.forms"):
        _replace(f"r2p_edge.calibration.{module}", "VideoError", LookupError)


def _without_the_form_of_labels() -> None:
    """Let through what a list of another form raises."""
    _replace("r2p_edge.export.labels", "SpecError", LookupError)


def _without_the_other_kinds_of_plan() -> None:
    """Let through what a file that is no plan raises."""
    _replace("r2p_edge.runtimes.tensorrt.plan_header", "ModelError", LookupError)


def _without_the_form_of_an_ir() -> None:
    """Let through what a file that is no IR raises."""
    _replace("r2p_edge.artifact.openvino_ir", "ModelError", LookupError)


READERS: Mapping[str, Reader] = {
    "video": Reader(corpus.videos, _video, _without_the_errors_of_the_decoder),
    "images": Reader(corpus.images, _images, _without_the_check_of_images),
    "ckpt": Reader(corpus.mindspore_checkpoints, _checkpoint, _without_the_sizes_of_tensors),
    "pth": Reader(corpus.torch_checkpoints, _checkpoint, _without_the_error_of_torch),
    "safetensors": Reader(corpus.safetensors, _checkpoint, _without_the_form_of_the_header),
    "onnx": Reader(corpus.onnx_models, _onnx_source, _without_the_form_of_messages),
    "openvino": Reader(corpus.openvino_models, _model, _without_the_form_of_an_ir),
    "mindir": Reader(corpus.mindirs, _mindir, _without_the_form_of_messages),
    "plan": Reader(corpus.plans, _plan, _without_the_other_kinds_of_plan),
    "spec": Reader(corpus.specs, _spec, _without_the_errors_of_json),
    "sidecar": Reader(corpus.sidecars, _sidecar, _without_the_errors_of_json),
    "manifest": Reader(corpus.manifests, _manifest, _without_the_errors_of_json),
    "clips": Reader(corpus.clip_manifests, _clip_manifest, _without_the_kinds_of_clips),
    "split": Reader(corpus.splits, _split, _without_the_form_of_lines),
    "labels": Reader(corpus.labels, _labels, _without_the_form_of_labels),
}
"""The readers by name."""
