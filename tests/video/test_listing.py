"""Files that are taken at the word of their packets, and those that are not."""

import av
import numpy as np
import pytest
from avi import video_chunks, with_chunks
from videos import detailed, file_levels, written

from r2p_edge.video.container import VideoDecoder
from r2p_edge.video.listing import list_packets


def listed(path):
    """Return the numbers of the listed frames of a file of 25 frames a second, and of its keys."""
    video = VideoDecoder(str(path), f"file:{path}")
    found = list_packets(video)
    video.close()
    if found is None:
        return None
    first = found.stamps[0]
    return tuple([round((s - first) * video.tick * 25) for s in stamps] for stamps in found)


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts"])
def test_a_sound_file(tmp_path, name, b_frames):
    path = written(tmp_path / name, np.arange(30) / 25, codec="libx264", b_frames=b_frames, gop=10)
    with av.open(str(path)) as container:
        keys = [frame.key_frame for frame in container.decode(video=0)]
    assert listed(path) == (list(range(30)), np.flatnonzero(keys).tolist())


def test_avi_whose_chunks_are_frames(tmp_path):
    assert listed(detailed(tmp_path / "clip.avi")) == (list(range(30)), [0, 12, 24])
    path = tmp_path / "jpeg.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for image in np.zeros((30, 48, 64, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    assert listed(path) == (list(range(30)), list(range(30)))


def test_avi_whose_chunks_may_be_something_else(tmp_path):
    path = detailed(tmp_path / "clip.avi")
    chunks = video_chunks(path)
    assert listed(with_chunks(path, tmp_path / "same.avi", chunks)) is not None
    two = [*chunks[:10], (False, chunks[10][1] + chunks[11][1]), *chunks[12:]]
    assert listed(with_chunks(path, tmp_path / "two.avi", two)) is None
    tiny = [*chunks[:10], (False, b"\0\0\1\xb6\x40\0"), *chunks[11:]]
    assert listed(with_chunks(path, tmp_path / "tiny.avi", tiny)) is None
    assert listed(with_chunks(path, tmp_path / "late.avi", chunks[5:])) is None


def test_empty_chunks_are_moments(tmp_path):
    path = detailed(tmp_path / "clip.avi")
    chunks = video_chunks(path)
    empty = (False, b"")
    holes = [*chunks[:7], empty, empty, *chunks[7:12], empty, *chunks[12:], empty]
    numbers = [k for k in range(33) if k not in (7, 8, 14)]
    assert listed(with_chunks(path, tmp_path / "holes.avi", holes))[0] == numbers


def test_key_frames_of_avi_are_those_of_the_video(tmp_path):
    """Mark every chunk as a key frame in the index, as some writers do."""
    path = detailed(tmp_path / "clip.avi")
    chunks = [(True, data) for _, data in video_chunks(path)]
    assert listed(with_chunks(path, tmp_path / "keys.avi", chunks))[1] == [0, 12, 24]


def test_what_does_not_look_sound(tmp_path):
    path = written(tmp_path / "clip.ts", np.arange(60) / 25, codec="libx264", gop=20, b_frames=2)
    data = path.read_bytes()
    middle = tmp_path / "middle.ts"
    middle.write_bytes(data[len(data) // 188 // 6 * 188 :])
    assert listed(middle) is None  # begins within a group of pictures
    pieces = [data[k : k + 188] for k in range(0, len(data), 188)]
    del pieces[len(pieces) // 2]
    torn = tmp_path / "torn.ts"
    torn.write_bytes(b"".join(pieces))
    assert listed(torn) is None  # has lost a packet


def test_hidden_frames_are_not_listed(tmp_path):
    """Take the bit away that shows a frame of VP8, as that of an alternate reference."""
    path = written(tmp_path / "clip.webm", np.arange(30) / 25, codec="libvpx", gop=30)
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0) if packet.size][7]
    data = path.read_bytes()
    assert data.count(packet) == 1
    path.write_bytes(data.replace(packet, bytes([packet[0] & ~0x10]) + packet[1:]))
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 29
    assert listed(path)[0] == [k for k in range(30) if k != 7]


def test_frames_of_a_listed_avi_are_those_of_decoding(tmp_path):
    path = detailed(tmp_path / "clip.avi")
    wanted = [0, 5, 11, 12, 20, 29]
    assert listed(path) is not None
    assert file_levels(path, wanted) == file_levels(path, wanted, count="frames")
