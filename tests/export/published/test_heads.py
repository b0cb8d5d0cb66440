"""The first bytes of weights in every format, and of what servers send in their place."""

from __future__ import annotations

import io

import numpy as np
import pytest
from checkpoints import write_mindspore_ckpt
from requirements import needs

from r2p_edge.export.published.heads import unlike_weights
from r2p_edge.export.recognition import HEAD


@pytest.mark.parametrize("length", range(1, 200))
def test_mindspore_files_whose_lengths_look_like_text(tmp_path, length):
    """60 is "<", 91 is "[" and 123 is "{", and each file begins with what is a new line in text."""
    file = write_mindspore_ckpt(tmp_path / "a.ckpt", {"a" * length: np.zeros(3, np.float32)})
    assert unlike_weights(file.read_bytes()[:HEAD]) is None


@needs("torch")
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(zipped):
    import torch

    file = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, file, _use_new_zipfile_serialization=zipped)
    assert unlike_weights(file.getvalue()[:HEAD]) is None


@needs("safetensors")
@pytest.mark.parametrize("names", range(1, 40))
def test_safetensors_files(names):
    """The length of the header comes first, and its lowest byte may be any letter."""
    from safetensors.numpy import save

    content = save({f"layer{number}": np.zeros(3, np.float32) for number in range(names)})
    assert unlike_weights(content[:HEAD]) is None


@pytest.mark.slow
@needs("onnx")
def test_onnx_files(motion_model):
    assert unlike_weights(motion_model.read_bytes()[:HEAD]) is None


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\r\n\n <!DOCTYPE html>", "a web page"),
        (b"\xef\xbb\xbf<html>", "a web page"),
        (b'\n{"message": "Not Found"}', "a message in JSON"),
        (b"<?xml version='1.0'?>", "a message in XML"),
        (b"Proxy error", 'text that begins with "Proxy error"'),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x01\x02\x03\x04", "of no known format (it begins with the bytes 01 02 03 04)"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_what_servers_send(head, words):
    assert unlike_weights(head).startswith(words)
