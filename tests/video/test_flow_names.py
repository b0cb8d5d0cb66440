"""The folders of a video's stored flow, and what is a video among folders that have such names."""

import pytest

from r2p_edge.video.flow_names import flow_folders, pictures_of
from r2p_edge.video.video_folder import has_frames, is_video, videos_in


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("pair", [("flow_x", "flow_y"), ("flow_u", "flow_v"), "xy", "uv"])
def test_two_folders_are_one_video(pair, tmp_path, caplog):
    across, down = pair
    video = touch(tmp_path / "a" / "v1", f"{across}/2.jpg", f"{across}/1.jpg", f"{down}/1.jpg")
    assert flow_folders(video) == (video / across, video / down)
    assert pictures_of(video) == [video / across / "1.jpg", video / across / "2.jpg",
                                  video / down / "1.jpg"]  # fmt: skip
    assert is_video(video)
    assert not has_frames(video.parent)
    assert videos_in(tmp_path) == [video]
    assert videos_in(video) == [video]
    assert not caplog.records


@pytest.mark.parametrize(
    "names",
    [
        ("u/1.jpg", "w/1.jpg"),  # one direction
        ("u/notes.txt", "v/notes.txt"),
        ("U/1.jpg", "V/1.jpg"),
        ("x/one/1.jpg", "y/one/1.jpg"),  # classes, of folders of frames
    ],
)
def test_other_folders_are_none(names, tmp_path):
    assert flow_folders(touch(tmp_path, *names)) is None
    assert not is_video(tmp_path)


def test_frames_beside_them_are_the_video(tmp_path, caplog):
    both = touch(tmp_path / "both", "1.jpg", "2.jpg", "u/1.jpg", "v/1.jpg", "thumbs/1.jpg")
    assert [picture.name for picture in pictures_of(both)] == ["1.jpg", "2.jpg"]
    assert videos_in(tmp_path) == [both]
    assert caplog.messages[0].endswith("both/thumbs/1.jpg")


def test_video_files_beside_them_are_videos(tmp_path):
    touch(tmp_path, "clip.mp4", "u/1.jpg", "v/1.jpg")
    assert videos_in(tmp_path) == [tmp_path / name for name in ("clip.mp4", "u", "v")]
