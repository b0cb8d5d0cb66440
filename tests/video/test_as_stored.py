"""Files whose pictures a player would show otherwise than they are stored."""

from __future__ import annotations

import logging
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import decoded_by_opencv, read_by_index, real_files

from r2p_edge.video import as_stored


@pytest.fixture(autouse=True)
def _nothing_told(monkeypatch):
    monkeypatch.setattr(as_stored, "_told", set())


def circle(path, aspect=None, options=None, codec="mpeg2video"):
    """Write a few pictures of a disk as DVD and DV have them."""
    rows, columns = np.mgrid[:576, :720]
    disk = (np.hypot(rows - 288, (columns - 360) * 64 / 45) < 150)[:, :, None] * 255
    frame = np.repeat(disk, 3, axis=2).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options or {})
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def notices(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_pixels_that_are_not_square(tmp_path, caplog):
    path = circle(tmp_path / "a.mpg", Fraction(64, 45))
    with caplog.at_level(logging.INFO, "r2p_edge.video.as_stored"):
        (image,) = read_by_index(path, [1])[1]
        read_by_index(path, [1])
    (first, message), (second, _) = notices(caplog)
    assert (first, second) == ("WARNING", "INFO")
    assert "pixels that are not square (64:45); they are taken as square" in message
    # As OpenCV shows them: narrower than high.
    np.testing.assert_allclose(image.astype(int), decoded_by_opencv(path)[1], atol=3)
    rows, columns = np.nonzero(image[:, :, 0] > 128)
    assert np.ptp(columns) == pytest.approx(np.ptp(rows) * 45 / 64, abs=4)


@pytest.mark.parametrize("aspect", [None, Fraction(1), Fraction(405, 404)])
def test_pixels_that_are_square_but_for_rounding(tmp_path, caplog, aspect):
    with caplog.at_level(logging.INFO, "r2p_edge.video.as_stored"):
        read_by_index(circle(tmp_path / "a.mp4", aspect, codec="mpeg4"), [0])
    assert notices(caplog) == []


def test_interlaced_pictures(tmp_path, caplog):
    path = circle(tmp_path / "a.mpg", options={"flags": "+ildct+ilme", "top": "1"})
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    with caplog.at_level(logging.INFO, "r2p_edge.video.as_stored"):
        read_by_index(path, [1, 2])
    ((name, message),) = notices(caplog)
    assert name == "WARNING"
    assert f"{path} is interlaced; its pictures are taken as they are" in message


def test_nothing_is_said_of_the_usual_files(data, caplog):
    with caplog.at_level(logging.INFO, "r2p_edge.video.as_stored"):
        for file in real_files(data):
            read_by_index(file, [0])
    assert notices(caplog) == []
