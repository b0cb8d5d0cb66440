"""Files that are no checkpoint are told by content and name, and no checkpoint is one of them."""

import gzip
import json
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from r2p_edge.export.foreign_formats import FORMATS
from r2p_edge.export.recognition import HEAD, described, foreign_format

NOISE = bytes(range(128, 256)) * 4  # no text, and no known beginning
SHARD = '{"weight_map": {"fc.weight": "model-00002-of-00002%s"}}'

# Name, content, what it is, the way out.
FILES = [
    ("model.bin", NOISE, "weights without names, as OpenVINO", "the checkpoint or the ONNX"),
    ("model.pte", b"\x20\0\0\0ET12" + NOISE, "for one device", "made from"),
    ("model.mnn", NOISE, "for one device", "made from"),
    ("model.kmodel", b"LDMK" + NOISE, "for one device", "made from"),
    ("model.ncnn.param", b"7767517\n10 12\nInput in0 0 1 in0\n", "for one device", "made from"),
    ("yolov3.weights", b"\0\0\0\0\2\0\0\0\5\0\0\0" + NOISE, "of Darknet", r"\.cfg"),
    ("model.gguf", b"GGUF\3\0\0\0" + NOISE, "GGML", "made from"),
    ("flax.msgpack", b"\x81\xa6params\x82" + NOISE, "Flax", "jax2onnx"),
    ("net.mat", b"MATLAB 5.0 MAT-file, Platform" + NOISE, "a MATLAB file", "exportONNXNetwork"),
    ("net.rds", gzip.compress(b"RDX3", mtime=0), "an object of R's", "safe_save_file"),
    ("net.pmml", b'<PMML version="4.4"></PMML>', "PMML", "made from"),
    ("net.pmml", b'<?xml version="1.0"?>\n<PMML version="4.4">', "PMML", "made from"),
    ("model.ckpt.data-00000-of-00001", NOISE, "a part of a TensorFlow checkpoint", "tf2onnx"),
    ("model.ckpt.meta", NOISE, "a part of a TensorFlow checkpoint", r"give its \.index"),
    ("model.ckpt.meta", b"\n\x1a\x12\x05" + NOISE, "a part of a TensorFlow", "SavedModel"),
    ("checkpoint", b'model_checkpoint_path: "model"\n', "a part of a TensorFlow", "SavedModel"),
    ("__0_0.distcp", b"PK\x03\x04" + NOISE, "a distributed checkpoint", r"dcp_to_torch folder "),
    ("zero_pp_rank_0_mp_rank_00_optim_states.pt", b"PK\x03\x04", "DeepSpeed", "zero_to_fp32.py"),
    ("model-00002-of-00003.safetensors", b"\x90\0\0\0\0\0\0\0{", "one part of a", r"cd folder &&"),
    ("pytorch_model-00001-of-00002.bin", b"PK\x03\x04", "one part of a model", "torch.load"),
    ("adapter_model.safetensors", b"\x90\0\0\0\0\0\0\0{", "an adapter", "merge_and_unload"),
    ("i.json", (SHARD % ".safetensors").encode(), "an index of the files", "load_file"),
    ("i.json", (SHARD % ".bin").encode(), "an index of the files of a model", "torch.load"),
    ("model.txt", b"ir_version: 8\nproducer_name: ", "an ONNX model as text", "textproto"),
    ("model.txt", b"<\n   ir_version: 8,\n", "an ONNX model as text", "onnxtxt"),
    ("model.xml", b"<?xml version='1.0'?>\n<net name='a'>", "built for one runtime", "made from"),
    ("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture", "weights"),
    ("photo.png", b"\x89PNG\r\n\x1a\n", "a picture", "weights"),
    ("photo.gif", b"GIF89a\1\0\1\0\x80\0", "a picture", "weights"),
    ("photo.webp", b"RIFF\x10\0\0\0WEBPVP8 ", "a picture", "weights"),
    ("photo.heic", b"\0\0\0\x18ftypheic", "a picture", "weights"),
    ("clip.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0", "a video", "weights"),
    ("clip.avi", b"RIFF\x10\0\0\0AVI LIST", "a video", "weights"),
    ("clip.ts", (b"\x47" + bytes(187)) * 3, "a video", "weights"),
    ("sound.wav", b"RIFF\x10\0\0\0WAVEfmt ", "a sound", "weights"),
    ("events.out.tfevents.1700.host", NOISE, "a log of TensorBoard's", "weights"),
    ("x", struct.pack("<QI", 24, 9) + b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2", "a log", "of"),
    ("paper.pdf", b"%PDF-1.7\n" + NOISE, "a document in PDF", "weights"),
    ("data.db", b"SQLite format 3\0" + NOISE, "a database", "weights"),
    ("model.so", b"\x7fELF\2\1\1\0" + NOISE, "a program or a library", "made from"),
    ("model.dll", b"MZ\x90\0" + NOISE, "a program or a library", "made from"),
    ("model.pth.gpg", b"\x85\x02\x0c" + NOISE, "OpenPGP", "-d folder/model.pth.gpg"),
    ("m.asc", b"-----BEGIN PGP MESSAGE-----\n", "OpenPGP", "gpg -o model.pth -d folder/m.asc"),
    ("m.asc", b"-----BEGIN PGP SIGNATURE-----\n", "a signature", "that it is of"),
    ("model.pth.age", b"age-encryption.org/v1\n", "with age", "age -d -i KEY -o model.pth folder"),
    (
        "model.pth.enc",
        b"Salted__" + NOISE,
        "openssl enc",
        "openssl enc -d -aes-256-cbc -pbkdf2 -in folder/model.pth.enc -out model.pth, with the ci",
    ),
    ("model.pth", b"U2FsdGVkX19" + b"A" * 501, "openssl enc -a", "-pbkdf2 -a -in folder/m"),
    ("a.torrent", b"d8:announce35:udp://tracker", "a torrent", "torrent program"),
    ("model.lnk", b"L\0\0\0\1\x14\2\0" + NOISE, "a shortcut", "leads to"),
    ("model.url", b"[InternetShortcut]\nURL=https://a", "a shortcut", "leads to"),
    ("model.pth", b"HTTP/1.1 200 OK\r\nContent-Type: a\r\n\r\nPK", "a server's answer", "no -i"),
    ("model.zip", b"PK\x05\x06" + bytes(18), "an empty zip archive", "again"),
    ("model.pth.sha256", b"abc  model.pth\n", "a checksum", "that it is of"),
    ("model.txt", b"d41d8cd98f00b204e9800998ecf8427e  model.pth\n", "a checksum", "that it is of"),
    ("model.txt", b"SHA256 (model.pth) = 00", "a checksum", "that it is of"),
    ("model.pth.dvc", b"outs:\n- md5: abc\n", "DVC", "dvc pull folder/model.pth.dvc"),
    ("model.pth", b"/annex/objects/SHA256E-s1--0.pth\n", "git-annex", "git annex get"),
    ("model.pth", b"UEsDBAAACAgA" * 50, "text in base64", "base64 -d folder/model.pth"),
    ("train.ipynb", b'{\n "cells": [\n', "a Jupyter notebook", "weights"),
    ("config.yaml", b"model:\n  depth: 34\n", "a configuration", "weights"),
    ("net.py", b"import torch\n", "Python code", r"--module folder/net.py:FACTORY"),
    ("config.json", b'{"architectures": ["A"]}', "text in JSON, such as a conf", "--labels"),
    ("model.pth", b"\n\n <!DOCTYPE html>", "a web page", "download"),
    ("model.h5", b"<!DOCTYPE html>", "a web page", "download"),
    ("model.pb", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS", "git lfs pull"),
    ("model.pth", bytes(HEAD), "a row of zeros", "copy it again"),
]


@pytest.mark.parametrize(
    ("name", "content", "what", "way"),
    FILES,
    ids=[f"{number}-{row[0]}" for number, row in enumerate(FILES)],
)
def test_a_format_is_told(name, content, what, way):

    found = foreign_format(content[:HEAD], name)
    assert found is not None
    assert what in found.what
    assert re.search(way, found.way_from(Path("folder") / name))


def _mindspore(name: str, size: int) -> bytes:
    entry = b"\n" + bytes([len(name)]) + name.encode() + b"\x12" + bytes(size)
    return b"\n" + bytes([len(entry)]) + entry


CHECKPOINTS = {
    "zip": b"PK\x03\x04" + NOISE,
    "pickle": pickle.dumps({"weight": np.ones(2, np.float32)}, 2),
    "safetensors": struct.pack("<Q", 60) + json.dumps({"blobs": 1}).encode(),  # begins with "<"
    "mindspore": _mindspore("conv.weight", 46),  # begins with "\n<"
}


@pytest.mark.parametrize("content", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_of_any_name_is_none(content):
    for name in ("a.pth", "a.h5", "a.txt", "a.bin", "a.engine", "a.weights", "a.index", "a.meta"):
        assert foreign_format(content[:HEAD], name) is None
    for name in ("model-00001-of-00001.safetensors", "epoch-00003-of-00050.pth"):
        assert foreign_format(content[:HEAD], name) is None


def test_what_no_format_begins_with_is_described():
    assert described(b"\r\n epoch\t1 \xc3\xa9\n2") == 'text that begins with "epoch 1 é"'
    assert described(b"a" * 99) == f'text that begins with "{"a" * 40}"'
    assert described(b"\x01\xff") == "of no known format (it begins with the bytes 01 ff)"
    assert foreign_format(b"epoch 1", "log.txt") is None


def test_every_row_has_a_way_and_is_told_somehow():
    for row in FORMATS:
        assert row.what
        assert row.way
        assert row.content or row.names, row.what
