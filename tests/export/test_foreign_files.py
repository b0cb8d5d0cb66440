"""Files that no model is made from are named for what they are, with the way out."""

import json
import pickle
import re
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from checkpoints import to_torchvision
from networks import SMALL, random_parameters, spec_for
from requirements import needs

from r2p_edge.errors import ModelError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.source import find_source

NAMED = [
    ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(16), "a TensorFlow Lite model", "tf2onnx"),
    ("renamed.pth", b"\x1c\0\0\0TFL3" + bytes(16), "a TensorFlow Lite model", "tf2onnx"),
    ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(16), "an HDF5 file", "format='onnx'"),
    ("model.pdiparams", bytes(32), "PaddlePaddle", "paddle2onnx"),
    ("model.params", b"\x12\x01\0\0\0\0\0\0" + bytes(8), "MXNet's parameters", "GluonCV"),
    ("model.caffemodel", b"\n\x03net", "a Caffe or Caffe2 model", "ONNX"),
    ("model.ort", b"\x1c\0\0\0ORTM", "ONNX Runtime's own format", "ONNX file"),
    ("model.rknn", b"RKNN", "converted for one device", "ONNX file"),
    ("frozen.pb", b"\n\x08\n\x01x", "a TensorFlow graph or a damaged ONNX", "--graphdef"),
    ("saved_model.pb", b"\x08\x01\x12\x02\n\0", "a TensorFlow model", "--saved-model"),
    ("model.engine", b"ptrt", "built for one runtime", "ONNX file"),
    ("model.mindir", b"\n\x050.1.0", "built for one runtime", "checkpoint"),
    ("model.om", b"IMOD", "built for one runtime", "checkpoint"),
    ("model.xml", b"<?xml version='1.0'?><net/>", "built for one runtime", "checkpoint"),
]


@pytest.mark.parametrize(("name", "content", "what", "way"), NAMED, ids=[row[0] for row in NAMED])
def test_a_file_is_named(tmp_path, name, content, what, way):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=f"{name} is .*{what}.*; .*{way}"):
        find_source(tmp_path / name)


def test_pickles_of_other_frameworks(tmp_path):
    arrays = {"conv1_w": np.ones((2, 2), np.float32)}
    # As Caffe2's and PaddlePaddle's own code writes them.
    caffe2, paddle = {"blobs": arrays}, {**arrays, "StructuredToParameterName@@": {"a": "b"}}
    (tmp_path / "r2plus1d.pkl").write_bytes(pickle.dumps(caffe2, protocol=2))
    with pytest.raises(ModelError, match="is a Caffe or Caffe2 model; load it in its framework"):
        find_source(tmp_path / "r2plus1d.pkl")
    (tmp_path / "model.pdparams").write_bytes(pickle.dumps(paddle, protocol=2))
    with pytest.raises(ModelError, match="is PaddlePaddle's parameters"):
        find_source(tmp_path / "model.pdparams")


def test_archives(tmp_path):
    for name, inside, what in (
        ("model.zip", ["release/model.pth"], "a zip archive of release/model.pth.* unpack it"),
        ("model.keras", ["metadata.json", "config.json", "model.weights.h5"], "a Keras model"),
        ("other.zip", ["metadata.json", "config.json", "model.weights.h5"], "a Keras model"),
    ):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for each in inside:
                archive.writestr(each, b"{}")
        with pytest.raises(ModelError, match=f"{name} is {what}"):
            find_source(tmp_path / name)


@needs("safetensors")
def test_an_archive_of_arrays_and_the_command_for_it(tmp_path):
    arrays = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    np.savez(tmp_path / "my weights.npz", **arrays)
    with pytest.raises(ModelError, match="an archive of NumPy arrays; write them as a") as caught:
        find_source(tmp_path / "my weights.npz")
    command = re.search(r'python -c (".*"), and give model\.safetensors', str(caught.value))[1]
    code = shlex.split(command)[0]
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    found = read_checkpoint(tmp_path / "model.safetensors").parameters
    np.testing.assert_array_equal(found["fc.weight"], arrays["fc.weight"])


@pytest.mark.parametrize("given", ["model-00001-of-00003.safetensors", "model.index.json", "."])
def test_parts_that_are_not_there_are_named(tmp_path, given):
    parts = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    (tmp_path / parts[0]).write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    index = {"weight_map": {"stem.0.weight": parts[0], "a": parts[1], "fc.weight": parts[2]}}
    (tmp_path / "model.index.json").write_text(json.dumps(index))
    message = rf"{parts[1]}, {parts[2]} are not in \S+; bring them there"
    with pytest.raises(ModelError, match=message) as caught:
        find_source(tmp_path / given)
    assert "python" not in str(caught.value)


@needs("torch")
@pytest.mark.parametrize(
    "name", ["model.h5", "model.params", "model.zip", "model.pkl", "model.onnx", "model.engine"]
)
def test_a_checkpoint_under_the_name_of_another_format(tmp_path, name):
    import torch

    torch.save({"weight": torch.ones(2)}, tmp_path / name)
    assert not find_source(tmp_path / name).onnx


@needs("onnx")
@needs("onnxruntime")
@needs("torch")
def test_a_checkpoint_called_onnx_is_exported(tmp_path):
    import torch

    parameters = to_torchvision(random_parameters(**SMALL))
    tensors = {name: torch.from_numpy(array) for name, array in parameters.items()}
    torch.save(tensors, tmp_path / "model.onnx")
    (built,) = build(
        tmp_path / "model.onnx",
        targets=["onnx"],
        out=tmp_path / "out",
        spec=spec_for(SMALL["classes"], name="net"),
    ).built
    assert built.spec.source["dialect"] == "torchvision"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "a web page; download the file itself"),
        (b'{"error": "not found"}', "a message in JSON, .*; download the file itself"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer, .*; run git lfs pull",
        ),
        (b"\x1f\x8b\x08\0", "a gzip archive; unpack it, and give the file in it"),
    ],
)
def test_other_files_in_place_of_an_onnx_model(tmp_path, content, what):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.onnx is {what}"):
        find_source(tmp_path / "model.onnx")


@needs("onnx")
def test_an_onnx_model_of_any_name(tmp_path, small_checkpoint):
    from models import brightness_model, spec_of_brightness

    path = brightness_model(tmp_path / "model.onnx").rename(tmp_path / "model.pb")
    source = find_source(path, output="logits")
    assert (source.onnx, source.output) == (True, "logits")
    assert source.carried == spec_of_brightness()
    with pytest.raises(UsageError, match="is no ONNX file, and a checkpoint has one output"):
        find_source(small_checkpoint, output="logits")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelError, match="a TensorFlow graph or a damaged ONNX file"):
        find_source(path)


@needs("onnx")
def test_an_onnx_model_that_was_written_as_text(tmp_path):
    import onnx
    from models import brightness_model

    path = brightness_model(tmp_path / "model.onnx")
    for name in ("model.onnxtxt", "text.onnx"):
        onnx.save(onnx.load(path), tmp_path / name, format="textproto")
        with pytest.raises(ModelError, match=r"an ONNX model as text; .*onnx\.save"):
            find_source(tmp_path / name)
