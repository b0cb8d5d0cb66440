"""Sources that are no file are told by what they are, with what to do."""

import os
import re

import pytest

from r2p_edge.errors import ModelError, ModelNotFoundError, UsageError
from r2p_edge.export.absent import absent_source
from r2p_edge.export.published.registry import read_registry
from r2p_edge.export.source import find_source

FILE = "r2plus1d_18-91a641e6.pth"
SOURCES = {
    f"https://download.pytorch.org/models/{FILE}": "give the ID tv-r2plus1d_18, which r2p-edge wei",
    f"https:/download.pytorch.org/models/{FILE}?a=1": "give the ID tv-r2plus1d_18",
    f"somewhere/{FILE}": "the weights of that name have the ID tv-r2plus1d_18; give that, or check",
    "https://me:secret@example.org/net.pth": (
        r"https://\*\*\*@example.org/net.pth is an address, and export takes files; download "
        "the model first, and give the file: curl -L -O "
    ),
    "s3://bucket/net.pth": "s3://bucket/net.pth is an address, .*; download the model first, and",
    "file:///home/me/net.pth": "is an address, .*; give the path without file://",
    "hf://facebook/r2plus1d/model.safetensors": "hf download facebook/r2plus1d --local-dir",
    "facebook/timesformer-base": "a name at Hugging Face, .* hf download facebook/timesformer-base",
    "r2plus1d_18": r"did you mean tv-r2plus1d_18\?",
    "R2Plus1D_18_Weights.KINETICS400_V1": r"did you mean tv-r2plus1d_18\?",
    "tv-r2plus1d-18": r"did you mean tv-r2plus1d_18\?",
    "plian.pth": r"there is no model plian.pth; did you mean plain.pth\? check the path",
    "*.pt": r"there is no model \*\.pt; check the path",
    "nothing like it": "there is no model nothing like it; check the path, or use 'motion', or an",
    "a\0b": "there is no model",
    "n" * 5000: "there is no model",
}


@pytest.mark.parametrize(
    ("source", "words"), SOURCES.items(), ids=[str(n) for n in range(len(SOURCES))]
)
def test_what_is_not_there(tmp_path, monkeypatch, source, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.pth").touch()
    with pytest.raises(ModelNotFoundError, match=words) as refused:
        find_source(source)
    assert "secret" not in str(refused.value)


def test_what_is_no_ordinary_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", os.devnull):
        with pytest.raises(ModelError, match=f"{re.escape(str(path))} is no ordinary file, but a"):
            find_source(path)


def test_the_pipe_of_a_process_substitution():
    ours, theirs = os.pipe()
    try:
        with pytest.raises(ModelError, match=r"/dev/fd/\d+ is no ordinary file, but a pipe or a"):
            find_source(f"/dev/fd/{ours}")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_link_whose_file_is_gone(tmp_path):
    (tmp_path / "best.pth").symlink_to("/nonexistent/best.pth")
    with pytest.raises(
        ModelNotFoundError, match=r"best\.pth is a link to /nonexistent/best\.pth, "
    ):
        find_source(tmp_path / "best.pth")


def test_the_name_before_the_parts_of_a_checkpoint(tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(b"a")
    error = absent_source(tmp_path / "model.ckpt", read_registry())
    assert "is the name before model.ckpt.index, a part of a TensorFlow checkpoint" in str(error)


@pytest.mark.parametrize("source", ["", " "])
def test_nothing_at_all(source):
    with pytest.raises(UsageError, match="the source is empty; give a checkpoint"):
        find_source(source)
