"""The inspection of a folder of labelled videos: all of them are found, decoded and compared."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from r2p_edge.calibration.catalogue import Catalogue
from r2p_edge.calibration.dataset.duplicates import same_videos
from r2p_edge.calibration.dataset.facts import VideoFacts, facts_of_video
from r2p_edge.calibration.dataset.findings import errors_in, warnings_in
from r2p_edge.calibration.dataset.report import DatasetReport
from r2p_edge.calibration.matching import Video, match_folder
from r2p_edge.runtimes.base import usable_cores
from r2p_edge.video.class_folders import class_folders
from r2p_edge.video.video_folder import entries_of, is_video, report_left_out


def inspect_dataset(
    folder: str | Path, *, progress: Callable[[int, int], None] | None = None
) -> DatasetReport:
    """Find the videos of a folder that has a folder for each class, and decode every one.

    The videos are those that `list_videos` finds there, and so those of `eval` and `calibrate`.

    Args:
        folder: of the data set.
        progress: called after each video with the number done and the number of all.

    Returns:
        The report. Faults of the data are in it, and are not raised.

    Raises:
        VideoNotFoundError: there is no such folder.
        VideoError: it cannot be read, or no folder in it has a video.
    """
    folder = Path(folder)
    found = class_folders(folder)
    matched = match_folder(found.names, Catalogue(folder, found.names))
    report_left_out(folder, matched.left_out)
    videos = sorted(matched.videos, key=lambda video: (video.label, video.name))
    labelled, entries = {video.path for video in videos}, entries_of(folder)
    facts: list[VideoFacts] = []
    for one in _decoded(videos):
        facts.append(one)
        if progress is not None:
            progress(len(facts), len(videos))
    report = DatasetReport(
        folder,
        found.names,
        tuple(facts),
        tuple(same_videos(video for video, one in zip(videos, facts) if not one.error)),
        left_out=(*matched.left_out, *(path.name for path in entries if not os.path.exists(path))),
        beside=tuple(
            path.name
            for path in entries
            if path not in labelled and path.name not in found.names and is_video(path)
        ),
        empty=found.empty,
    )
    return dataclasses.replace(
        report, errors=tuple(errors_in(report)), warnings=tuple(warnings_in(report))
    )


def _decoded(videos: Sequence[Video]) -> Iterator[VideoFacts]:
    """Yield the facts of each video, in order; several are decoded at a time."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(usable_cores())  # FFmpeg decodes without the interpreter's lock
    try:
        yield from pool.map(facts_of_video, videos)
    finally:
        pool.shutdown(cancel_futures=True)
