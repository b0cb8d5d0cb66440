"""First bytes of TensorRT engines, and of other files that are named like one."""

import io
import json
import shlex
import subprocess
import zipfile

import numpy as np
import pytest

from r2p_edge.errors import ModelError
from r2p_edge.runtimes.tensorrt.plan_header import Plan, read_plan


def plan(*version, layout=0, body=b"\0" * 100):
    """Return the bytes of an engine, with the version where NVIDIA's sample looks for it."""
    header = b"ftrt" + np.uint32(layout).tobytes() + bytes(range(16)) + bytes(version)
    return header + body


def with_header(content, text='{"description": "YOLO"}', length=None):
    length = len(text) if length is None else length
    return length.to_bytes(4, "little", signed=True) + text.encode() + content


def zipped():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"weights")
    return file.getvalue()


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "model.engine"
        path.write_bytes(content)
        return read_plan(path)

    return read


@pytest.fixture
def reason(read):
    """Why the content is refused, after the file's name."""

    def reason(content):
        with pytest.raises(ModelError) as caught:
            read(content)
        return str(caught.value).partition("model.engine ")[2]

    return reason


@pytest.mark.parametrize(
    "version", [(8, 6, 1, 6), (10, 3, 0, 26), (11, 4, 0, 106), (10, 255, 0, 0)]
)
def test_the_version_that_built_it(read, version):
    assert read(plan(*version)) == Plan(version, "tensorrt")
    assert read(plan(*version, body=b"")) == Plan(version, "tensorrt")


def test_plans_that_do_not_say(read):
    assert read(plan(12, 0, 0, 1, layout=1)) == Plan(None, "tensorrt")
    # Before 8.6 they began otherwise; so may those to come.
    for content in (b"ptrt" + bytes(40), b"\x01\x02", b"\x80abc" * 9, b"\x08\x01\x12abc\xff"):
        assert read(content) == Plan(None, None)


@pytest.mark.parametrize("size", [4, 5, 24, 27])
def test_a_plan_that_is_cut_in_its_header(reason, size):
    assert reason(plan(10, 3, 0, 26)[:size]) == (
        f"ends after {size} bytes, within the header of an engine; copy it again"
    )


@pytest.mark.parametrize("name", ["model.engine", "it's a model.plan"])
@pytest.mark.parametrize("text", ['{"description": "YOLO"}', json.dumps({"names": ["x" * 2000]})])
def test_the_header_of_ultralytics(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(with_header(plan(8, 6, 1, 6), text))
    with pytest.raises(ModelError, match="as ultralytics writes it; trtexec and this") as caught:
        read_plan(path)
    assert f"a header of {4 + len(text)} bytes" in str(caught.value)
    assert "give it a spec (spec=, --spec)" in str(caught.value)
    # The command does what it is said to do.
    command = str(caught.value).partition("cut them off with ")[2].partition(", and give")[0]
    subprocess.run(command, shell=True, check=True)
    (bare,) = set(tmp_path.iterdir()) - {path}
    assert bare.read_bytes() == plan(8, 6, 1, 6)
    assert shlex.split(command)[-1] == str(bare)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (with_header(b""), "begins with a header of 27 bytes, as ultralytics writes it, and ends"),
        (with_header(b"", length=1 << 30), "begins with a header of 1073741828 bytes, as"),
        (b"", "is empty; copy or build"),
        (b"\x08\x08\x12\x07pytorch\x1a\x01\xff", "is an ONNX file, not a TensorRT engine; build"),
        (b"\x08\x0a\x3a\xff\xff\x01", "is an ONNX file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "is a git-lfs pointer, not a TensorRT engine; fetch it with git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html>", "is an HTML page, not a TensorRT engine; download"),
        (b"\xef\xbb\xbf<html lang=en>", "is an HTML page"),
        (zipped(), "is a zip archive, not a TensorRT engine; unpack it"),
        (b"PK\x05\x06" + bytes(18), "is a zip archive"),
        (b"404: Not Found", "is a text file, not a TensorRT engine; give the engine"),
        (b"f", "is a text"),
        (b'{"spec": {}}', "is a text"),
        # A text that is longer than what is read, the last letter of which is cut.
        ("zażółć gęślą jaźń\r\n".encode() * 40, "is a text"),
        (b"a" + "é".encode() * 400, "is a text"),
    ],
)
def test_what_is_something_else(reason, content, said):
    assert reason(content).startswith(said)


def test_an_onnx_model_of_the_library(tmp_path):
    pytest.importorskip("onnx")
    from models import brightness_model

    with pytest.raises(ModelError, match="is an ONNX file, not a"):
        read_plan(brightness_model(tmp_path / "model.plan"))


@pytest.mark.parametrize("length", [-5, 0, 1])
def test_a_length_that_no_header_has(read, length):
    assert read(with_header(plan(8, 6, 1, 6), length=length)) == Plan(None, None)


@pytest.mark.parametrize("content", [plan(10, 3, 0, 26, body=b""), with_header(b"", length=99)])
def test_a_file_of_gigabytes_is_not_read(tmp_path, monkeypatch, content):
    path = tmp_path / "model.engine"
    with path.open("wb") as file:
        file.write(content)
        file.truncate(4 << 30)  # a hole, which takes no room
    taken = []

    class Counting(io.FileIO):
        def read(self, size=-1):
            taken.append(size)
            return super().read(size)

    monkeypatch.setattr(type(path), "open", lambda self, mode: Counting(self, mode))
    if content[:4] == b"ftrt":
        assert read_plan(path).version == (10, 3, 0, 26)
    else:
        with pytest.raises(ModelError, match="a header of 103 bytes"):
            read_plan(path)
    assert 0 < sum(taken) < 4096
    assert min(taken) > 0


def test_what_the_caller_hears_of_the_disk(tmp_path):
    for path in (tmp_path / "absent.engine", tmp_path):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            read_plan(path)
