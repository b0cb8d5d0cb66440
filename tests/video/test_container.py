"""Opening files: how often, and which ones are refused."""

import numpy as np
import pytest
from file_server import serving
from models import spec_of_brightness
from videos import written

from r2p_edge.errors import LowFrameRateWarning, VideoError
from r2p_edge.video.clip_reader import ClipReader
from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.source import open_source

READER = ClipReader(spec_of_brightness())


def test_a_live_playlist_is_refused(tmp_path):
    written(tmp_path / "part.ts", np.arange(50) / 25, codec="libx264", rate=25)
    playlist = tmp_path / "live.m3u8"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\npart.ts\n")
    with pytest.raises(VideoError, match="live playlist"):
        open_source(playlist, 25.0)


def counting_decoders(monkeypatch):
    """Return a list that gets one item for each time that a file is opened."""
    opened = []
    open_file = VideoDecoder._open
    monkeypatch.setattr(
        VideoDecoder, "_open", lambda self, *given: opened.append(open_file(self, *given))
    )
    return opened


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.avi", "clip.h264"])
def test_a_url_is_connected_once(tmp_path, name, clips):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    # The index of an .mp4 stands in front, as it must for a server that gives whole files only.
    options = {"options": {"movflags": "faststart"}} if name.endswith("mp4") else {}
    written(tmp_path / name, np.arange(50) / 25, codec=codec, b_frames=2, rate=25, **options)
    expected = READER.read(tmp_path / name, clips=clips)
    with serving(tmp_path) as server:
        found = READER.read(server.url(name), clips=clips)
    assert server.connections == 1
    np.testing.assert_array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.avi"])
def test_a_server_that_tells_no_length(tmp_path, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    options = {"options": {"movflags": "faststart"}} if name.endswith("mp4") else {}
    path = written(tmp_path / name, np.arange(50) / 25, codec=codec, rate=25, b_frames=2, **options)
    expected = READER.read(path, clips=3)
    with serving(tmp_path, lengths=False) as server:
        found = READER.read(server.url(name), clips=3)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert not found.truncated


@pytest.mark.slow
def test_a_damaged_url_is_connected_twice(data):
    """Once more for a decoder of one frame at a time, as the pictures are large."""
    name = "decord_corrupted.mp4"
    with serving(data / "odd") as server, pytest.warns(LowFrameRateWarning):
        found = READER.read(server.url(name), clips=3)
    with pytest.warns(LowFrameRateWarning):
        expected = READER.read(data / "odd" / name, clips=3)
    assert server.connections == 2
    np.testing.assert_array_equal(found.pixels, expected.pixels)


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("name", ["odd/*.*", "kinetics/*.mp4", "ucf101/YoYo/*g01*.avi"])
@pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning")
def test_a_file_is_opened_once(data, name, clips, monkeypatch):
    opened = counting_decoders(monkeypatch)
    paths = [path for path in sorted(data.glob(name)) if path.name != "decord_corrupted.mp4"]
    for path in paths:
        READER.read(path, clips=clips)
    assert len(opened) == len(paths) > 0


def test_a_long_file_that_is_read_from_its_start_is_opened_once(tmp_path, monkeypatch):
    path = written(tmp_path / "long.mp4", np.arange(70 * 25) / 25, rate=25)
    opened = counting_decoders(monkeypatch)
    first = READER.read(path, clips=2).pixels[0].mean(axis=(1, 2, 3))
    assert np.abs(first - [10, 12, 14, 16]).max() <= 1
    assert len(opened) == 1
