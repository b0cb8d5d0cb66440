"""Timelines as text: CSV, JSON, and the subtitles of SRT and WebVTT."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from r2p_edge.segments.timelines import Segment, Timeline

CSV_COLUMNS = ("video", "start", "end", "label", "score", "gap")
"""Columns of the CSV: times in seconds, and an empty label and score in a gap."""


def clock(seconds: float, point: str = ".", *, hours: bool = True) -> str:
    """Return a time as `h:mm:ss.mmm`, with two figures of hours; without them, below an hour.

    Args:
        point: mark before the milliseconds; "" leaves them out.
        hours: write the hours even if there are none.
    """
    whole = round(seconds * 1000) if point else round(seconds) * 1000
    minutes, rest = divmod(whole, 60_000)
    text = f"{rest // 1000:02d}" + (f"{point}{rest % 1000:03d}" if point else "")
    if hours:
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{text}"
    return f"{minutes // 60}:{minutes % 60:02d}:{text}" if minutes >= 60 else f"{minutes}:{text}"


def csv_of(timelines: Iterable[Timeline]) -> bytes:
    """Return a row for each segment of each video, in UTF-8, below a row of `CSV_COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    for timeline in timelines:
        for segment in timeline.segments:
            row = {"video": timeline.video, **segment.to_dict()}
            table.writerow("" if row[name] is None else row[name] for name in CSV_COLUMNS)
    return text.getvalue().encode("utf-8", "backslashreplace")


def jsonl_of(timelines: Iterable[Timeline]) -> bytes:
    """Return a line of JSON for each video, in UTF-8."""
    return "".join(_json(timeline.to_dict()) + "\n" for timeline in timelines).encode()


def json_of(timeline: Timeline) -> bytes:
    """Return the timeline of one video as a JSON object, in UTF-8."""
    return (_json(timeline.to_dict(), indent=1) + "\n").encode()


def _json(data: Any, indent: int | None = None) -> str:
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return json.dumps(data, indent=indent)
    return text


def srt_of(timeline: Timeline) -> bytes:
    """Return subtitles as SubRip, which most players show: the label and its score, gaps empty."""
    cues = [
        f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(timeline), 1)
    ]
    return "\n".join(cues).encode("utf-8", "backslashreplace")


def vtt_of(timeline: Timeline) -> bytes:
    """Return subtitles as WebVTT, which browsers show: the label and its score, gaps empty."""
    cues = ["WEBVTT\n"]
    for start, end, text in _cues(timeline):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        cues.append(f"{clock(start)} --> {clock(end)}\n{escaped}\n")
    return "\n".join(cues).encode("utf-8", "backslashreplace")


def _cues(timeline: Timeline) -> Iterable[tuple[float, float, str]]:
    return (
        (each.start, each.end, caption(each))
        for each in timeline.segments
        if each.label is not None and round(each.end * 1000) > round(each.start * 1000)
    )


def caption(segment: Segment) -> str:
    """Return the label and the score of a segment on one line; of a gap, what it is."""
    if segment.label is None or segment.score is None:
        return f"({segment.gap})"
    # A line break would end a subtitle.
    return f"{' '.join(segment.label.split())} ({segment.score:.0%})"
