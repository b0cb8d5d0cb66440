"""`r2p-edge annotate`: which films it writes, and what it refuses."""

import json
import shutil

import av
import pytest
from exit_codes import BACKEND, DATA, USAGE
from requirements import needs
from tides import tide, write_levels

pytestmark = needs("cv2")


@pytest.fixture
def video(tmp_path):
    """A video that rises for a second and falls for one."""
    return write_levels(tmp_path / "a b.avi", tide("/\\", 1.0))


def frames(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_one_film(run, model, video, out):
    code, output, errors = run("annotate", model, video, "--out", out / "film = 1:2.mp4")
    assert (code, errors) == (0, "")
    assert output.startswith(f"{video}\n  ")
    assert output.endswith("film = 1:2.mp4\n")
    assert [frames(path) for path in out.iterdir()] == [50]


def test_a_folder_of_videos(run, model, video, tmp_path, out):
    videos = tmp_path / "videos"
    (videos / "in").mkdir(parents=True)
    shutil.copy(video, videos / "a.avi")
    shutil.copy(video, videos / "in" / "a.avi")
    (videos / "bad.avi").write_bytes(b"no video")
    code, output, errors = run("annotate", model, videos, "--out", out / "films", "--json")
    assert code == DATA
    assert errors.count("error") == 1
    films = sorted(path for path in out.rglob("*.*"))
    assert films == [out / "films/a.mp4", out / "films/in/a.mp4"]
    good, failed, again = map(json.loads, output.splitlines())
    assert [good["film"], again["film"]] == [str(film) for film in films]
    assert set(failed) == {"video", "error"}


def test_refusals(fails, model, video, out, tmp_path, monkeypatch):
    start = "annotate", model, video
    fails(USAGE, "is no film of .mp4, .mkv", *start, "--out", out / "film.avi")
    fails(USAGE, "is one film and there are 2 videos", *start, video, "--out", out / "film.mp4")
    fails(DATA, "there is no folder", *start, "--out", out / "absent" / "film.mp4")
    same = tmp_path / "same.mp4"
    write_levels(same, [100] * 25)
    before = same.read_bytes()
    fails(USAGE, "is the video itself", "annotate", model, same, "--out", same)
    fails(USAGE, "is the video itself", "annotate", model, same, "--out", tmp_path)
    assert same.read_bytes() == before
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    fails(BACKEND, "cv2", *start, "--out", out / "film.mp4")
    assert list(out.iterdir()) == []
