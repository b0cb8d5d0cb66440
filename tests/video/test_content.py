"""Files in memory and open files: read as the file at the path is, or refused in a sentence."""

import contextlib
import io
import os

import numpy as np
import pytest
from models import spec_of_brightness
from videos import written

from r2p_edge.errors import UsageError, VideoError
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.content import content_of, is_content
from r2p_edge.video.source import is_path, open_source

READER = ClipReader(spec_of_brightness())


def at_its_end(content):
    file = io.BytesIO()
    file.write(content)
    return file


FORMS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "written BytesIO": at_its_end,
    "buffered": lambda content: io.BufferedReader(io.BytesIO(content)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of each container, by their suffix."""
    folder = tmp_path_factory.mktemp("files")
    return {
        kind: written(folder / f"a.{kind}", np.arange(30) / 25) for kind in ("mp4", "avi", "mkv")
    }


@pytest.mark.parametrize(
    ("form", "kind"), [*((form, "mp4") for form in FORMS), ("bytes", "avi"), ("bytes", "mkv")]
)
def test_a_file_in_memory_is_read_as_the_file_is(form, kind, files):
    path = files[kind]
    source = FORMS[form](path.read_bytes())
    expected = READER.read(path, clips=3)
    for _ in range(2):  # it stays open, and may stand anywhere
        read = READER.read(source, clips=3)
        np.testing.assert_array_equal(read.pixels, expected.pixels)
        assert read.span == expected.span


@pytest.mark.slow
def test_real_files_that_are_open(data):
    paths = [*data.glob("kinetics/*.mp4"), data / "ucf101/YoYo/v_YoYo_g01_c01.avi"]
    paths.append(data / "odd/decord_corrupted.mp4")  # opened again, to decode it one by one
    for path in paths:
        with path.open("rb") as file, contextlib.suppress(UserWarning):
            expected = READER.read(path)
            np.testing.assert_array_equal(READER.read(file).pixels, expected.pixels)
            assert not file.closed


def test_bytes_that_can_be_a_path_are_one(tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(5) / 25)
    assert is_path(os.fsencode(path))
    assert not is_content(os.fsencode(path))
    assert is_content(path.read_bytes())
    assert not is_path(path.read_bytes())
    assert is_content(b"a" * 5000)


def test_a_file_in_memory_knows_its_rate_and_colours(tmp_path):
    content = written(tmp_path / "a.mp4", np.arange(5) / 25).read_bytes()
    with pytest.raises(UsageError, match="a file knows its own rate"):
        READER.read(content, fps=25)
    with pytest.raises(UsageError, match="color describes arrays"):
        READER.read(io.BytesIO(content), color="BGR")


def test_files_that_cannot_be_read(tmp_path):
    def fails(source, message):
        with pytest.raises(VideoError, match=message):
            open_source(source, 25.0)

    closed = io.BytesIO(b"a")
    closed.close()
    fails(closed, "the BytesIO is closed; open it again")
    fails(io.BytesIO(), "the file in memory is empty")
    fails(bytes(5000), "the file in memory cannot be read as a video")
    text = tmp_path / "text.txt"
    text.write_text("a")
    with text.open() as file:
        fails(file, "gives text; open the video in binary")
    text.write_text("")
    with text.open("rb") as file:
        fails(file, r"text\.txt is empty")
    read, write = os.pipe()
    os.close(write)
    with open(read, "rb") as pipe:  # noqa: PTH123
        fails(pipe, r"cannot be sought; give io\.BytesIO")
    assert content_of(np.zeros((1, 8, 8, 3), np.uint8)) is None


def test_a_list_in_memory_opens_no_other_file(tmp_path, monkeypatch):
    """Bytes that were sent to a server must not choose what it reads."""
    written(tmp_path / "secret.mkv", np.arange(5) / 25)
    monkeypatch.chdir(tmp_path)
    listed = b"ffconcat version 1.0\nfile secret.mkv\n"
    (tmp_path / "list.ffconcat").write_bytes(listed)
    assert len(open_source(tmp_path / "list.ffconcat", 25.0).times) == 5
    with pytest.raises(VideoError, match="cannot be read as a video"):
        open_source(io.BytesIO(listed), 25.0)
