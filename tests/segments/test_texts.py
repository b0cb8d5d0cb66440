"""Timelines as text, read back by other programs' rules."""

import csv
import io
import json
import re

import pytest
from timelines import timeline_of

from r2p_edge.segments.texts import (
    caption,
    clock,
    csv_of,
    json_of,
    jsonl_of,
    srt_of,
    vtt_of,
)
from r2p_edge.segments.timelines import Segment

ODD = 'a, "b"\n<c> & =1+1 \u732b'


FOUND = timeline_of(
    Segment(0.0, 61.5, "run", 0.987654321),
    Segment(61.5, 70.0, None, None, "unsure"),
    Segment(70.0, 3700.25, ODD, 0.5),
    Segment(3700.25, 3701.0, None, None, "no frames"),
    labels=("run", ODD),
)


def test_clock():
    assert clock(3725.0426) == "01:02:05.043"
    assert clock(59.9996, ",") == "00:01:00,000"
    assert [clock(s, "", hours=False) for s in (0, 61, 3599.6, 3661)] == [
        *("0:00", "1:01", "1:00:00", "1:01:01")
    ]
    assert clock(61.25, hours=False) == "1:01.250"
    assert clock(400_000) == "111:06:40.000"


def test_csv():
    rows = list(csv.DictReader(io.StringIO(csv_of([FOUND, FOUND]).decode())))
    assert len(rows) == 8
    assert rows[0] == {
        "video": "video.mp4", "start": "0.0", "end": "61.5", "label": "run", "score": "0.987654",
        "gap": "",
    }  # fmt: skip
    assert (rows[1]["label"], rows[1]["score"], rows[1]["gap"]) == ("", "", "unsure")
    assert rows[2]["label"] == ODD
    assert csv_of([]) == b"video,start,end,label,score,gap\n"


def test_json():
    one = json.loads(json_of(FOUND))
    assert one == FOUND.to_dict()
    assert [json.loads(line) for line in jsonl_of([FOUND, FOUND]).splitlines()] == [one, one]
    assert one["segments"][1] == {
        "start": 61.5, "end": 70.0, "label": None, "score": None, "gap": "unsure",
    }  # fmt: skip
    assert one["duration"] == 3701.0


def seconds(text):
    hours, minutes, rest = re.fullmatch(r"(\d\d+):(\d\d):(\d\d[.,]\d{3})", text).groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(rest.replace(",", "."))


def cues(text, point):
    """Parse blocks of subtitles: an optional number, a line of times, and lines of text."""
    for block in re.split(r"\n\n+", text.strip()):
        lines = block.split("\n")
        if "-->" not in lines[0]:
            lines = lines[1:]
        start, end = lines[0].split(" --> ")
        assert start[-4] == end[-4] == point
        yield seconds(start), seconds(end), "\n".join(lines[1:])


def test_srt():
    text = srt_of(FOUND).decode()
    assert text.startswith("1\n00:00:00,000 --> 00:01:01,500\nrun (99%)\n\n2\n")
    assert list(cues(text, ",")) == [
        (0.0, 61.5, "run (99%)"),
        (70.0, 3700.25, 'a, "b" <c> & =1+1 \u732b (50%)'),
    ]


def test_webvtt():
    head, _, text = vtt_of(FOUND).decode().partition("\n\n")
    assert head == "WEBVTT"
    assert list(cues(text, "."))[1][2] == 'a, "b" &lt;c&gt; &amp; =1+1 \u732b (50%)'


def test_subtitles_are_read_by_ffmpeg(tmp_path):
    """The texts, as FFmpeg's own readers of both formats give them."""
    import av

    for name, data in (("a.srt", srt_of(FOUND)), ("a.vtt", vtt_of(FOUND))):
        (tmp_path / name).write_bytes(data)
        with av.open(str(tmp_path / name)) as container:
            packets = [packet for packet in container.demux() if packet.size]
        assert [float(p.pts * p.time_base) for p in packets] == [0.0, 70.0]
        assert [float(p.duration * p.time_base) for p in packets] == pytest.approx([61.5, 3630.25])
        assert bytes(packets[0]) == b"run (99%)"


def test_a_segment_of_no_milliseconds_is_no_subtitle():
    found = timeline_of(Segment(0.0, 0.0004, "run", 1.0), Segment(0.0004, 2.0, "jump", 1.0))
    assert [text for *_, text in cues(srt_of(found).decode(), ",")] == ["jump (100%)"]


def test_names_that_are_no_text():
    found = timeline_of(
        Segment(0.0, 2.0, "run", 1.0), video=b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    )
    assert json.loads(json_of(found))["video"] == found.video
    assert b"caf\\udce9.mp4" in csv_of([found])


def test_captions():
    assert caption(FOUND.segments[0]) == "run (99%)"
    assert caption(FOUND.segments[1]) == "(unsure)"
    assert caption(FOUND.segments[3]) == "(no frames)"
