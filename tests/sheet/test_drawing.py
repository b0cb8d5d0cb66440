"""Sheets as pictures: valid, exact, and safe whatever the names are."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import av
import numpy as np
import pytest

from r2p_edge.errors import OutputError, UsageError
from r2p_edge.pictures.encoding import png_of_pixels
from r2p_edge.sheet import ClassActivation, SeenVideo, Tile, write_sheet
from r2p_edge.sheet.drawing import svg_of_look
from r2p_edge.sheet.heat import STOPS, heat_of

RNG = np.random.default_rng(0)
SVG = "{http://www.w3.org/2000/svg}"
ODD = 'a <b> & "c"\n\x00 = é 漢字 ' + "x" * 300


def look_of(frames=16, clips=1, moments=2, video="v.mp4", label="walk", size=(20, 30)):
    """Return a look of random frames."""
    tiles = [
        [Tile(RNG.integers(0, 255, (*size, 3), np.uint8), 2, 7, k / 25) for k in range(frames)]
        for _ in range(clips)
    ]
    values = RNG.standard_normal((clips, moments, 7, 7)).astype(np.float32)
    activation = ClassActivation(label, values, values.mean(axis=(1, 2, 3))) if moments else None
    top = [(label, 0.75), ("run", 0.25)]
    return SeenVideo(video, "net fp32", tiles, (16, 16), 1.0, top, "logits", activation)


def decoded(png):
    """Return the pixels of a PNG file, with their opacity."""
    with av.open(io.BytesIO(png)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgba")


def images(root):
    """Return the pixels of all pictures of a sheet."""
    found = [each.get("href").partition(",")[2] for each in root.iter(f"{SVG}image")]
    return [decoded(base64.b64decode(each)) for each in found]


def test_the_frames_are_drawn_to_the_byte():
    look = look_of(moments=0)
    root = ElementTree.fromstring(svg_of_look(look))
    drawn = images(root)
    for tile, image in zip(look.clips[0], drawn, strict=True):
        np.testing.assert_array_equal(image[..., :3], tile.image)
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert [f"{number}" for number in range(1, 17)] == [each for each in texts if each.isdigit()]
    assert "0.600 s" in texts
    frame = next(each for each in root.iter(f"{SVG}rect") if each.get("fill") == "none")
    assert [frame.get(name) for name in ("x", "y", "width", "height")] == ["7", "2", "16", "16"]


@pytest.mark.parametrize(("frames", "moments"), [(16, 2), (8, 1), (10, 3), (4, 4), (1, 1), (64, 8)])
def test_each_frame_has_the_heat_of_its_time_position(frames, moments):
    root = ElementTree.fromstring(svg_of_look(look_of(frames, 1, moments)))
    used = [each.get("href") for each in root.iter(f"{SVG}use")]
    assert used == [f"#heat-0-{k * moments // frames}" for k in range(frames)]
    defined = {f"#{each.get('id')}" for each in root.iter(f"{SVG}image") if each.get("id")}
    assert set(used) <= defined
    assert len(defined) == moments


def test_several_clips_have_names_and_heats_of_their_own():
    root = ElementTree.fromstring(svg_of_look(look_of(clips=3)))
    assert {each.get("href")[:7] for each in root.iter(f"{SVG}use")} == {
        "#heat-0",
        "#heat-1",
        "#heat-2",
    }
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert "clip 3 of 3" in texts


def test_odd_names_are_text():
    text = svg_of_look(look_of(video=f"/folder/{ODD}", label=ODD))
    root = ElementTree.fromstring(text)
    assert not [each for each in root.iter() if each.tag.endswith("}b")]
    assert max(len(each.text) for each in root.iter(f"{SVG}text")) < 500


def test_an_address_is_shown_without_its_password():
    text = svg_of_look(look_of(video="http://user:secret@host/a.mp4?token=secret"))
    assert "secret" not in text


def test_the_heat_has_the_highest_colour_at_the_highest_place():
    values = np.zeros((7, 7), np.float32)
    values[2, 5] = 4
    heat = heat_of(values, (0, 4), 7 * 15, 7 * 15)
    middle = heat[2 * 15 + 7, 5 * 15 + 7]
    np.testing.assert_array_equal(middle[:3], STOPS[-1])
    assert middle[3] == heat[..., 3].max()
    assert heat[75:, :40, 3].max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (7, 7)])
def test_values_that_are_all_the_same_are_no_heat(shape):
    heat = heat_of(np.full(shape, 3, np.float32), (3, 3), 16, 24)
    assert heat.shape == (16, 24, 4)
    assert heat[..., 3].max() == 0


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (112, 171)])
def test_png(size, channels):
    image = RNG.integers(0, 256, (*size, channels), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(png_of_pixels(image))[..., :channels], image)


def test_files(tmp_path):
    look = look_of()
    for name in ("a b = 1.svg", "ü.HTML"):
        write_sheet(look, tmp_path / name)
    svg = (tmp_path / "a b = 1.svg").read_text("utf-8")
    page = (tmp_path / "ü.HTML").read_text("utf-8")
    assert svg in page
    assert page.startswith("<!doctype html>")
    for text in (svg, page):
        assert "<script" not in text
        assert not re.search(r'(?:href|src)="(?!#|data:)', text)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a b = 1.svg", "ü.HTML"]
    with pytest.raises(UsageError, match=r"written as \.svg or \.html"):
        write_sheet(look, tmp_path / "sheet.gif")
    with pytest.raises(OutputError, match="there is no folder"):
        write_sheet(look, tmp_path / "absent" / "sheet.svg")
