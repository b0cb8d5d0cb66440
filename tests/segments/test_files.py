"""Files of timelines: which formats there are, and which name the file of each video has."""

import json

import pytest
from requirements import needs
from timelines import two_labels
from video_folders import touch

from r2p_edge import write_timelines
from r2p_edge.errors import OutputError, UsageError
from r2p_edge.segments.files import (
    TABLES,
    TIMELINE_FORMATS,
    check_output,
    output_paths,
)
from r2p_edge.video.named import named_videos

STARTS = {
    ".csv": b"video,start,", ".jsonl": b'{"video"', ".json": b"{\n", ".srt": b"1\n",
    ".vtt": b"WEBVTT\n\n", ".svg": b"<svg ", ".png": b"\x89PNG",
}  # fmt: skip


@needs("cv2")
@pytest.mark.parametrize("suffix", TIMELINE_FORMATS)
def test_each_suffix_is_a_format(tmp_path, suffix):
    file = tmp_path / f"a = b{suffix.upper()}"
    write_timelines([two_labels()], file)
    assert file.read_bytes().startswith(STARTS[suffix])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("suffix", TIMELINE_FORMATS)
def test_several_videos_are_for_tables(tmp_path, suffix):
    file = tmp_path / f"all{suffix}"
    both = [two_labels(), two_labels("other.mp4")]
    if suffix in TABLES:
        write_timelines(both, file)
        assert b"other.mp4" in file.read_bytes()
    else:
        with pytest.raises(UsageError, match=rf"--out DIR --format {suffix[1:]}\)"):
            write_timelines(both, file)
        assert not file.exists()


def test_what_cannot_be_written_is_said_before_the_work(tmp_path):
    with pytest.raises(UsageError, match=r"x\.txt is of no format .* one of \.csv, \.jsonl"):
        check_output(tmp_path / "x.txt")
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(tmp_path / "absent" / "x.csv")


def test_a_picture_leads_to_its_video(tmp_path):
    touch(tmp_path, "videos/a#1.mp4", "out/x.txt")
    write_timelines([two_labels(str(tmp_path / "videos/a#1.mp4"))], tmp_path / "out/x.svg")
    assert 'href="../videos/a%231.mp4#t=60.000"' in (tmp_path / "out/x.svg").read_text()
    write_timelines([two_labels("http://host/a.mp4")], tmp_path / "out/x.svg")
    assert "href" not in (tmp_path / "out/x.svg").read_text()


def test_paths_of_outputs(tmp_path):
    touch(tmp_path, "day/a.mp4", "day/in/a.mp4", "night/a.mp4")
    videos = named_videos([str(tmp_path / "day")])
    paths = output_paths(videos, tmp_path / "out", ".srt")
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["out/a.srt", "out/in/a.srt"]
    assert (tmp_path / "out/in").is_dir()
    twice = named_videos([str(tmp_path / "day/a.mp4"), str(tmp_path / "night/a.mp4")])
    with pytest.raises(UsageError, match=r"day/a\.mp4 and .*night/a\.mp4 would both be written"):
        output_paths(twice, tmp_path / "other", ".srt")
    assert not (tmp_path / "other").exists()
    touch(tmp_path, "taken")
    with pytest.raises(OutputError, match="taken cannot be made"):
        output_paths(videos, tmp_path / "taken", ".srt")


def test_json_is_of_one_video(tmp_path):
    write_timelines([two_labels()], tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text())["video"] == "a b.mp4"
