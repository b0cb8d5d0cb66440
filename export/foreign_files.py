"""Files that no model is made from: results, and models of other frameworks."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

from r2p_edge.errors import ModelError, unreadable_model
from r2p_edge.runtimes import RUNTIMES


class _Other(NamedTuple):
    """A format, by suffix and by content.

    Attributes:
        what: the format, as in "is ...".
        way: the way to a file that can be read.
        suffixes: of its files.
        magic: bytes that its files have, where any name may stand before them.
        at: the offset of these bytes.
    """

    what: str
    way: str
    suffixes: tuple[str, ...] = ()
    magic: bytes = b""
    at: int = 0


_TF2ONNX = "convert it to ONNX (pip install tf2onnx; python -m tf2onnx.convert"
_KERAS = _Other(
    "a Keras model",
    "load it in Keras and write model.export('model.onnx', format='onnx')",
    (".keras",),
)
_CAFFE = _Other(
    "a Caffe or Caffe2 model",
    "load it in its framework and export it to ONNX; VMZ publishes its weights for PyTorch too",
    (".caffemodel",),
)
_OTHERS = (
    _Other(
        "a TensorFlow Lite model",
        f"{_TF2ONNX} --tflite FILE --output model.onnx), or better the model that it was made from",
        (".tflite",),
        b"TFL3",
        4,
    ),
    _Other(
        "an HDF5 file, as Keras writes",
        "load it in Keras and write model.export('model.onnx', format='onnx'); weights of a "
        "PyTorch network belong in a .safetensors file",
        (".h5", ".hdf5"),
        b"\x89HDF\r\n\x1a\n",
    ),
    _KERAS,
    _Other(
        "PaddlePaddle's parameters or program",
        "load them into their network and write paddle.onnx.export (pip install paddle2onnx)",
        (".pdparams", ".pdmodel", ".pdiparams", ".pdopt"),
    ),
    _Other(
        "MXNet's parameters",
        "export the network with mxnet.onnx.export_model; GluonCV publishes the same weights for "
        "PyTorch too",
        (".params",),
        b"\x12\x01\x00\x00\x00\x00\x00\x00",
    ),
    _CAFFE,
    _Other(
        "ONNX Runtime's own format",
        "give the .onnx file that it was made from",
        (".ort",),
        b"ORTM",
        4,
    ),
    _Other(
        "a model that was converted for one device",
        "give the checkpoint or the ONNX file that it was made from",
        (".dlc", ".rknn", ".hef", ".mlmodel", ".mlpackage", ".ncnn", ".nb", ".ms", ".trt"),
    ),
)
_FRAMEWORK_PB = (
    "a TensorFlow graph or a damaged ONNX file",
    f"{_TF2ONNX} --graphdef FILE or --saved-model FOLDER), or copy the ONNX file again",
)
_PACKED = (".keras", ".mlpackage", ".pdopt", ".pdparams")  # archives and pickles of their own
_MODELS = (".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".pkl", ".tar", ".bin")


def refuse_foreign(path: Path) -> None:
    """Raise an error for a file that is no checkpoint and no ONNX model, saying what it is.

    Raises:
        ModelError: it is a result for one runtime, a model of another framework, or an archive.
    """
    suffix = path.suffix.lower()
    try:
        with path.open("rb") as file:
            head = file.read(512)
        packed = head.startswith((b"PK", b"\x80"))
        for other in _OTHERS:
            there = other.magic and head[other.at :].startswith(other.magic)
            # Some people's names of PyTorch's files are those of other frameworks.
            named = suffix in other.suffixes and (suffix in _PACKED or not packed)
            if there or named:
                raise _refusal(path, other.what, other.way)
        # A checkpoint that is named .onnx is read by its content.
        if suffix != ".onnx" and any(suffix in row.suffixes for row in RUNTIMES.values()):
            raise ModelError(
                f"{path} is a model that was built for one runtime, and no other is made from it; "
                "give the checkpoint or the ONNX file that it was made from"
            )
        if suffix == ".pb":
            raise _refusal(path, *_FRAMEWORK_PB)
        if suffix == ".pkl" and packed and b"blobs" in head:  # the key of all its arrays
            raise _refusal(path, _CAFFE.what, _CAFFE.way)
        if head.startswith(b"PK"):
            _refuse_archive(path)
    except OSError as error:
        raise unreadable_model(path, error) from error


def describe_folder(folder: Path) -> str:
    """Return what a folder is that was given in place of a model's file, and what to do.

    Raises:
        ModelError: the folder cannot be listed.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise unreadable_model(folder, error) from error
    if "saved_model.pb" in names:
        return f"a TensorFlow model; {_TF2ONNX} --saved-model {folder} --output model.onnx)"
    if any(name.endswith(".distcp") for name in names):
        return (
            "a distributed checkpoint of PyTorch's; join its parts in PyTorch: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} model.pth"
        )
    if "data.pkl" in names and os.path.isdir(folder / "data"):
        return (
            "the contents of a PyTorch checkpoint; pack them again: "
            f"(cd {folder.parent} && zip -0 -r model.pth {folder.name})"
        )
    models = [name for name in names if name.lower().endswith(_MODELS)]
    if not models:
        return "a folder without a checkpoint or ONNX file; give the path of such a file"
    return f"a folder; give the checkpoint or ONNX file in it ({', '.join(models[:5])})"


def _refuse_archive(path: Path) -> None:
    """Raise ModelError for a zip archive that holds files of models, and is none of PyTorch's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # the reader of checkpoints says what is wrong with it
    if any(name.endswith(("data.pkl", "/version", ".data/version")) for name in names):
        return
    if {"metadata.json", "config.json"} <= set(names):
        raise _refusal(path, _KERAS.what, _KERAS.way)
    if inside := [name for name in names if name.lower().endswith(_MODELS)]:
        raise _refusal(path, f"a zip archive of {inside[0]}", "unpack it, and give that file")


def _refusal(path: Path, what: str, way: str) -> ModelError:
    return ModelError(f"{path} is {what}, which cannot be read here; {way}")
