"""Answers in notebooks: what they show, escaped, bounded, and never an error."""

import base64
import dataclasses
import html.parser
import re

import cv2
import numpy as np
import pytest
from models import brightness_model, grey_frames, spec_of_brightness
from videos import written

from r2p_edge import Predictor
from r2p_edge.pictures.table import html_of
from r2p_edge.spec import InputSpec

EVIL = ("<script>alert(1)</script>", "a & b \"c\" 'd'", "x" * 5000, "$f_0")


class Parser(html.parser.HTMLParser):
    """Checks that every element is closed, and gathers the text and the elements."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(text):
    parser = Parser()
    parser.feed(text)
    parser.close()
    assert not parser.open
    assert parser.seen <= {"div", "table", "tr", "td", "p", "img"}
    return parser.text


@pytest.fixture
def predictor(tmp_path):
    with Predictor(brightness_model(tmp_path / "model.onnx")) as opened:
        yield opened


def picture_in(text):
    (content,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)


def test_the_frames_of_a_file_are_shown(predictor, tmp_path):
    path = written(tmp_path / "a.mp4", np.arange(20) / 25)
    text = predictor.predict(path)._repr_html_()
    assert "frame 3" in parsed(text)
    assert "looked at 0.2 of 0.8 s" in parsed(text)
    levels = picture_in(text)[4, [4, 14, 24, 34], 0]  # tiles of 8, two pixels apart
    np.testing.assert_allclose(levels, np.array([16, 18, 20, 22]), atol=4)


def test_frames_that_were_kept_are_shown_in_rgb(tmp_path):
    red = np.zeros((4, 9, 9, 3), np.uint8)
    red[..., 0] = 200
    for color in ("RGB", "BGR"):
        spec = spec_of_brightness(input=InputSpec(color=color))
        path = brightness_model(tmp_path / f"{color}.onnx", spec)
        with Predictor(path) as predictor:
            answer = predictor.predict(red, keep_frames=True)
        blue, _, seen = picture_in(html_of(answer))[4, 4]
        assert seen > 150 > 60 > blue


def test_names_are_escaped_and_cut_off(predictor, tmp_path):
    answer = predictor.predict(grey_frames(range(4)), keep_frames=True)
    text = html_of(dataclasses.replace(answer, labels=EVIL, device=EVIL[0]))
    shown = parsed(text)
    assert EVIL[0] in shown
    assert EVIL[1] in shown
    assert "x" * 79 + "…" in shown
    assert "x" * 80 not in shown


def test_it_is_small_however_large_the_clips_are(predictor):
    answer = predictor.predict(grey_frames(range(4)))
    noise = np.random.default_rng(0).integers(0, 256, (4, 17, 230, 350, 3), np.uint8)
    answer = dataclasses.replace(answer, _frames=lambda: noise, clips=4)
    text = html_of(answer)
    assert len(text) < 900_000
    assert "Clips 1, 2, 4 of 4:" in parsed(text) or "Clips 1, 3, 4 of 4:" in parsed(text)


def test_where_frames_are_gone_it_says_so(predictor, tmp_path):
    path = written(tmp_path / "a <b>.mp4", np.arange(20) / 25)
    answer = predictor.predict(path)
    path.unlink()
    assert "there is no video" in parsed(html_of(answer))
    assert "keep_frames=True" in parsed(html_of(predictor.predict(grey_frames(range(4)))))
