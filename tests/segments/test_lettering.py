"""Text on pixels, with and without OpenCV 5's fonts."""

import logging

import numpy as np
import pytest
from requirements import needs

from r2p_edge.segments import lettering
from r2p_edge.segments.lettering import put_text, text_width

pytestmark = needs("cv2")


@pytest.fixture(params=["as it is", "before 5.0"])
def fonts(request, monkeypatch):
    """The fonts of the OpenCV that is installed, and the lines of those before."""
    lettering._writable.cache_clear()
    if request.param == "before 5.0":
        monkeypatch.setattr(lettering, "_face", lambda: None)
    yield request.param
    lettering._writable.cache_clear()


def drawn(text, size=30):
    """Return a grey image with a line of text, and the box around it: left, top, right, bottom."""
    image = np.zeros((100, 900, 3), np.uint8)
    put_text(image, text, 20, 60, size, (255, 255, 255))
    rows, columns = np.nonzero(image[:, :, 0] > 100)
    return image, (columns.min(), rows.min(), columns.max(), rows.max())


@pytest.mark.usefixtures("fonts")
def test_text_lies_on_its_base_line_and_is_as_wide_as_it_is_said():
    _, (left, top, right, bottom) = drawn("HANDSTAND")
    assert 18 <= left <= 26
    assert 55 <= bottom <= 63
    assert 14 <= bottom - top <= 32
    assert right - left == pytest.approx(text_width("HANDSTAND", 30), abs=8)


@pytest.mark.usefixtures("fonts")
def test_a_larger_size_is_wider():
    assert text_width("run", 40) > 1.5 * text_width("run", 20)


def test_letters_that_cannot_be_drawn_are_told(fonts, caplog):
    if fonts == "as it is" and lettering._face() is None:
        pytest.skip("this OpenCV has no fonts")
    with caplog.at_level(logging.WARNING):
        text_width("caf\xe9 \u2026", 20)
        assert not caplog.records
        text_width("\u732b", 20)
    assert len(caplog.records) == (0 if fonts == "as it is" else 1)
