"""Text in the encodings that programs save it in is read, and others are named."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from r2p_edge.spec.text_files import read_text_file

TEXT = "Füße\r\n手を振る\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_what_says_its_encoding(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes(TEXT.encode(encoding))
    assert read_text_file(tmp_path / "a.txt") == TEXT


@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv is not installed")
@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("walk\nFüße\n", "cp1252", r"byte 0xfc in line 2\), but as of Windows-1252"),
        ("walk\nrun\n", "utf-16-le", "it is text in UTF-16LE"),
        ("walk\nFüße\n", "utf-16-be", "it is text in UTF-16BE"),
    ],
)
def test_the_command_for_another_encoding(tmp_path, text, encoding, named):
    path = tmp_path / "my labels.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(ValueError, match=named) as caught:
        read_text_file(path)
    command = re.search(r"iconv .*", str(caught.value))[0]
    subprocess.run(command, shell=True, cwd=tmp_path, check=True)
    assert read_text_file(tmp_path / "my labels-utf8.txt") == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "damaged text in UTF-16; save it again"),
        (b"PK\x03\x04\x00\x00name", "bytes of zero, as no text has"),
    ],
)
def test_what_is_no_text(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_text_file(tmp_path / "a.txt")
