"""`r2p-edge timeline`: what it prints, which files it writes, and what it refuses."""

import csv
import io
import json
import shutil

import pytest
from exit_codes import DATA, USAGE
from tides import FALLING, RISING, tide, write_levels

QUICK = ("--hysteresis", 0.2, "--every", 0.08)


@pytest.fixture
def video(tmp_path):
    """A video that rises for two seconds and falls for two."""
    return write_levels(tmp_path / "two = parts\n\u732b.mp4", tide("/\\", 2.0))


@pytest.fixture
def folder(tmp_path, video):
    """A folder of three videos, the second of which is damaged, with one of the same name below."""
    videos = tmp_path / "videos"
    (videos / "in").mkdir(parents=True)
    shutil.copy(video, videos / "a.mp4")
    (videos / "b.mp4").write_bytes(b"no video " * 99)
    shutil.copy(video, videos / "in" / "a.mp4")
    return videos


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode())))


def test_for_people(run, model, video):
    code, output, errors = run("timeline", model, video, *QUICK)
    assert (code, errors) == (0, "")
    lines = output.splitlines()[-2:]
    assert output.startswith(f"{video}  (0:04.000)\n")
    assert lines[0].startswith("     0:00.000 -    0:0")
    assert [line.split("  ")[-1].rpartition(" ")[0] for line in lines] == [RISING, FALLING]


def test_json(run, model, video):
    code, output, _ = run("timeline", model, video, "--json", *QUICK)
    found = json.loads(output)
    assert code == 0
    assert set(found) == {"video", "duration", "truncated", "model", "every", "segments"}
    assert [segment["label"] for segment in found["segments"]] == [RISING, FALLING]
    assert found["segments"][0]["end"] == pytest.approx(2.0, abs=0.15)
    assert (found["every"], found["model"]) == (0.08, "brightness")


def test_files(run, model, video, out):
    files = [out / name for name in ("x.csv", "x.json", "x.srt", "x.vtt", "x.svg")]
    outs = [word for file in files for word in ("--out", file)]
    code, output, _ = run("timeline", model, video, *outs, *QUICK)
    assert code == 0
    assert "  2 segments: " in output
    assert sorted(out.iterdir()) == sorted(files)
    rows = rows_of(out / "x.csv")
    assert [row["label"] for row in rows] == [RISING, FALLING]
    assert rows[0]["video"] == str(video)


def test_a_folder_in_one_table(run, model, folder, out):
    code, output, errors = run("timeline", model, folder, "--out", out / "all.csv", *QUICK)
    assert code == DATA
    assert errors.count("r2p-edge: error:") == 1
    assert "b.mp4 cannot be read as a video" in errors
    rows = rows_of(out / "all.csv")
    names = [str(folder / name) for name in ("a.mp4", "in/a.mp4")]
    assert [row["video"] for row in rows] == [name for name in names for _ in range(2)]
    assert output.count("2 segments") == 2


def test_a_folder_in_a_folder(run, model, folder, out):
    code, output, _ = run(
        "timeline", model, folder, "--out", out / "new", "--format", "srt, .json", *QUICK, "--json"
    )
    assert code == DATA
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
    assert written == ["new/a.json", "new/a.srt", "new/in/a.json", "new/in/a.srt"]
    good, failed, again = map(json.loads, output.splitlines())
    assert set(failed) == {"video", "error"}
    assert json.loads((out / "new/a.json").read_text()) == good
    assert again["video"] == str(folder / "in/a.mp4")


def test_what_is_done_is_kept_at_ctrl_c(run, model, folder, out, monkeypatch):
    import r2p_edge.cli.timeline as verb

    find, calls = verb.timeline, []

    def interrupted(*given, **more):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return find(*given, **more)

    monkeypatch.setattr(verb, "timeline", interrupted)
    code, _, errors = run("timeline", model, folder, "--out", out / "all.csv", *QUICK)
    assert code == 130
    assert errors.endswith("r2p-edge: interrupted\n")
    rows = rows_of(out / "all.csv")
    assert {row["video"] for row in rows} == {str(folder / "a.mp4")}


def test_nothing_is_written_where_nothing_is_found(run, model, folder, out):
    code, *_ = run("timeline", model, folder / "b.mp4", "--out", out / "all.csv")
    assert (code, list(out.iterdir())) == (DATA, [])


def test_refusals(fails, model, video, folder, out, clip):
    start = "timeline", model
    fails(USAGE, "is of no format of timelines", *start, video, "--out", out / "x.txt")
    fails(USAGE, "holds one video and there are 3", *start, folder, "--out", out / "x.srt")
    fails(USAGE, "is a folder; say what to write there", *start, video, "--out", out)
    fails(USAGE, "--format is for files in a folder", *start, video, "--format", "csv")
    fails(USAGE, "is of no format", *start, video, "--out", out, "--format", "doc")
    fails(USAGE, "min_length is -1.0", *start, video, "--min-length", -1)
    fails(DATA, "there is no folder", *start, video, "--out", out / "absent" / "x.csv")
    fails(DATA, "there is no video", *start, out / "absent.mp4")
    fails(DATA, "has no videos", *start, out)
    fails(DATA, "is a live stream", *start, "rtsp://camera/1")
    fails(USAGE, "is a video; give the model before it", "timeline", clip, video)
    assert list(out.iterdir()) == []


def test_a_truncated_file_is_told(run, model, data, tmp_path):
    whole = (data / "ucf101/YoYo/v_YoYo_g01_c01.avi").read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(whole[: len(whole) // 2])
    code, output, _ = run("timeline", model, half)
    assert code == 0
    assert ", truncated)" in output.splitlines()[0]
