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

from r2p_edge.errors import R2PError

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
    ".index": trees.TABLE.changed,
    ".safetensors": texts.header_changed,
    ".pth": texts.zip_changed,
    ".npz": texts.zip_changed,
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
    with contextlib.suppress(R2PError):
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
    from r2p_edge.export.checkpoints.read import read_checkpoint
    from r2p_edge.export.checkpoints.weights import WeightsOptions

    WeightsOptions().named(read_checkpoint(path)).network()


def _model(path: Path) -> None:
    from r2p_edge import Predictor

    Predictor(path).close()


def _onnx_source(path: Path) -> None:
    from r2p_edge.export.graph.ends import class_axis, odd_end
    from r2p_edge.export.graph.foreign import (
        found_kind,
        require_evaluation_mode,
        source_precision,
    )
    from r2p_edge.export.graph.front import found_front
    from r2p_edge.export.graph.model import load_onnx, network_output, network_sizes
    from r2p_edge.export.graph.operators import check_ops
    from r2p_edge.export.graph.usable import require_usable

    _model(path)
    model = load_onnx(path)
    network_sizes(model)
    require_evaluation_mode(model)
    source_precision(model)
    found_front(model, spec_of_brightness())
    found_kind(model, network_output(model).name)
    output = network_output(model).name
    odd_end(model, output)
    class_axis(model, output)
    require_usable(model)
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


def _pair(path: Path) -> None:
    from r2p_edge.artifact.two_streams import open_model_or_pair

    open_model_or_pair(path)


def _sidecar(path: Path) -> None:
    from r2p_edge.artifact.open import open_artifact

    open_artifact(path.with_suffix(""))


def _manifest(path: Path) -> None:
    from r2p_edge.artifact import bundle

    bundle.check(path.parent)


def _weights_file(path: Path) -> None:
    from r2p_edge.export.published.partial import read_state
    from r2p_edge.export.published.registry import read_registry
    from r2p_edge.export.published.store import WeightsStore

    if path.name == "registry.json":
        read_registry(path)
    elif path.name.endswith(".part.json"):
        read_state(path)
    else:
        store = WeightsStore(path.parent, path.with_name("registry.json"))
        list(store.check())
        store.find(store.entry("other"))


def _golden(path: Path) -> None:
    from r2p_edge.export.verify.golden import read_golden

    read_golden(path)


def _clip_manifest(path: Path) -> None:
    from r2p_edge.calibration.manifest import Manifest

    Manifest.from_json(path.read_bytes()).record()


def _split(path: Path) -> None:
    from r2p_edge.calibration.split_file import read_split

    read_split(path)


def _archive_file(path: Path) -> None:
    from r2p_edge.archive.journal import Journal
    from r2p_edge.archive.list_file import read_list

    if path.suffix != ".journal":
        read_list(path)
        return
    with Journal(path.with_suffix(""), {"model": "1"}, resume=True) as journal:
        assert len(list(journal.rows())) >= len(journal.places)


def _results(path: Path) -> None:
    from r2p_edge.calibration.report import make_report

    make_report([path], path.with_name("report.html"))


def _features(path: Path) -> None:
    from r2p_edge.teaching.feature_file import load_features

    load_features(path)


def _labels(path: Path) -> None:
    from r2p_edge.export.labels import read_labels

    read_labels(path)


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


def _without_the_sizes_of_tensors() -> None:
    """Believe the shape of a tensor, whatever bytes it has."""
    _replace(
        "r2p_edge.export.checkpoints.tensor_file", "StoredTensor.__post_init__", lambda self: None
    )


def _without_the_errors_of_json() -> None:
    """Let through what the JSON parser raises."""
    import json

    modules = ("artifact.sidecar", "artifact.bundle", "spec.model_spec")
    for module in (*modules, "export.published.json_records"):
        _replace(f"r2p_edge.{module}", "parse_json", lambda text, where: json.loads(text))


def _without_errors(name: str, *modules: str) -> Callable[[], None]:
    """Return what lets through, in modules of the package, what they turn into an error class."""

    def remove() -> None:
        for module in modules:
            _replace(f"r2p_edge.{module}", name, LookupError)

    return remove


_MESSAGES = _without_errors("ModelError", "artifact.protobuf")
_LISTS = _without_errors(
    "VideoError", *(f"calibration.{name}" for name in ("split_file", "lists.table", "lists.forms"))
)

READERS: Mapping[str, Reader] = {
    "video": Reader(corpus.videos, _video, _without_the_errors_of_the_decoder),
    "images": Reader(corpus.images, _images, _without_errors("VideoError", "video.container")),
    "ckpt": Reader(corpus.mindspore_checkpoints, _checkpoint, _without_the_sizes_of_tensors),
    "pth": Reader(
        corpus.torch_checkpoints,
        _checkpoint,
        _without_errors("CheckpointError", "export.checkpoints.torch"),
    ),
    "safetensors": Reader(
        corpus.safetensors,
        _checkpoint,
        _without_errors("CheckpointError", "export.checkpoints.safetensors"),
    ),
    "tensorflow": Reader(
        corpus.tensorflow_checkpoints,
        _checkpoint,
        _without_errors("CheckpointError", "export.checkpoints.tensorflow"),
    ),
    "onnx": Reader(corpus.onnx_models, _onnx_source, _MESSAGES),
    "openvino": Reader(
        corpus.openvino_models, _model, _without_errors("ModelError", "artifact.openvino_ir")
    ),
    "mindir": Reader(corpus.mindirs, _mindir, _MESSAGES),
    "plan": Reader(
        corpus.plans, _plan, _without_errors("ModelError", "runtimes.tensorrt.plan_header")
    ),
    "spec": Reader(corpus.specs, _spec, _without_the_errors_of_json),
    "pair": Reader(
        corpus.pairs_of_models, _pair, _without_errors("SpecError", "artifact.pair_file")
    ),
    "sidecar": Reader(corpus.sidecars, _sidecar, _without_the_errors_of_json),
    "manifest": Reader(corpus.manifests, _manifest, _without_the_errors_of_json),
    "weights": Reader(corpus.weights_files, _weights_file, _without_the_errors_of_json),
    "golden": Reader(
        corpus.golden_pairs, _golden, _without_errors("ModelError", "export.verify.golden")
    ),
    "clips": Reader(
        corpus.clip_manifests, _clip_manifest, _without_errors("VideoError", "calibration.manifest")
    ),
    "split": Reader(corpus.splits, _split, _LISTS),
    "archive": Reader(
        corpus.archive_files, _archive_file, _without_errors("VideoError", "archive.list_file")
    ),
    "results": Reader(
        corpus.results, _results, _without_errors("VideoError", "calibration.report.results")
    ),
    "features": Reader(
        corpus.features, _features, _without_errors("UsageError", "teaching.feature_file")
    ),
    "labels": Reader(corpus.labels, _labels, _without_errors("SpecError", "export.labels")),
}
"""The readers by name."""
