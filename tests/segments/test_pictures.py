"""The picture of a timeline: its shapes, and both ways to draw them."""

import dataclasses
import importlib
import itertools
import urllib.parse
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from requirements import needs
from timelines import two_labels

from r2p_edge.errors import MissingDependencyError
from r2p_edge.segments.picture import WIDTH, Box, Words, draw_timeline
from r2p_edge.segments.png import png_of
from r2p_edge.segments.svg import svg_of
from r2p_edge.segments.timelines import Segment

SVG = "{http://www.w3.org/2000/svg}"


def bars(picture):
    return [s for s in picture.shapes if isinstance(s, Box) and s.title]


def test_boxes_lie_where_their_segments_do():
    found = two_labels()
    boxes = {box.title: box for box in bars(draw_timeline(found))}
    assert list(boxes) == [
        "0:40.000 to 0:50.000: (unsure)",
        "0:50.000 to 1:00.000: (no frames)",
        "0:00.000 to 0:40.000: run (75%)",
        "1:00.000 to 1:40.000: jump & <b> (75%)",
    ]
    scale = (boxes["0:50.000 to 1:00.000: (no frames)"].width) / 10
    first, last = boxes["0:00.000 to 0:40.000: run (75%)"], list(boxes.values())[-1]
    assert first.width == pytest.approx(40 * scale)
    assert last.left - first.left == pytest.approx(60 * scale)
    assert last.left + last.width < WIDTH
    assert last.top > first.top
    assert [box.hatched for box in boxes.values()] == [False, True, False, False]


def test_a_dozen_rows_have_colours_of_their_own():
    names = tuple(f"label {number}" for number in range(12))
    segments = tuple(Segment(float(n), n + 1.0, name, 0.9) for n, name in enumerate(names))
    found = dataclasses.replace(two_labels(labels=names), segments=segments)
    colours = [tuple(bytes.fromhex(box.colour[1:])) for box in bars(draw_timeline(found))]
    assert len(colours) == 12
    lab = cv2.cvtColor(np.array([colours], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    for one, other in itertools.combinations(lab, 2):
        assert np.linalg.norm(one - other) > 25  # ten times what can just be told apart


def test_labels_that_do_not_occur_have_no_row():
    texts = [s.text for s in draw_timeline(two_labels()).shapes if isinstance(s, Words)]
    assert "run" in texts
    assert "never" not in texts
    assert {"0:00", "0:10", "1:30", "1:40"} < set(texts)


@pytest.mark.parametrize("seconds", [61, 4000, 100_000])
def test_a_long_film_is_no_larger_picture(seconds):
    picture = draw_timeline(two_labels(seconds=seconds))
    texts = [s for s in picture.shapes if isinstance(s, Words) and s.anchor == "middle"]
    assert 2 <= len(texts) <= 11
    assert len(svg_of(picture)) < 60_000


def test_svg_is_xml_that_names_everything():
    root = ElementTree.fromstring(svg_of(draw_timeline(two_labels("odd\x01 \ud800 name.mp4"))))
    assert root.tag == f"{SVG}svg"
    assert root.get("viewBox").startswith(f"0 0 {WIDTH} ")
    assert root.find(f"{SVG}title").text == "Timeline of odd\ufffd \ufffd name.mp4"
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert "1:00.000 to 1:40.000: jump & <b> (75%)" in titles
    assert not list(root.iter(f"{SVG}a"))


def test_bars_lead_to_the_video():
    root = ElementTree.fromstring(svg_of(draw_timeline(two_labels()), "../a b#1.mp4"))
    targets = [urllib.parse.unquote(link.get("href")) for link in root.iter(f"{SVG}a")]
    assert targets == [f"../a b#1.mp4#t={at}.000" for at in (40, 50, 0, 60)]
    assert "a%20b%231.mp4#t=" in next(root.iter(f"{SVG}a")).get("href")


@needs("cv2")
def test_png_shows_the_same():
    picture = draw_timeline(two_labels())
    image = cv2.imdecode(np.frombuffer(png_of(picture), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert image.shape[1] == 2 * WIDTH
    for box in bars(picture):
        middle = image[round(2 * (box.top + box.height / 2)), round(2 * (box.left + box.width / 2))]
        colour = tuple(int(box.colour[k : k + 2], 16) for k in (1, 3, 5))
        if not box.hatched:
            assert tuple(middle) == colour, box
    dark = (image.max(axis=2) < 120)[:90, :600]
    assert dark.any()  # the title is there


def test_without_opencv_png_is_one_sentence(monkeypatch):
    real = importlib.import_module

    def missing(name, *more):
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"cv2 is not installed; .*pip install opencv"):
        png_of(draw_timeline(two_labels()))
