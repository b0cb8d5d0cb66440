"""Lists of a split as UCF101 writes them: a train list, a test list and an index of the classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from r2p_edge.artifact.atomic import atomic_files, made_folder
from r2p_edge.artifact.scratch import scratch_folder
from r2p_edge.calibration.catalogue import Catalogue
from r2p_edge.calibration.dataset.facts import VideoFacts
from r2p_edge.calibration.dataset.findings import one_name
from r2p_edge.calibration.dataset.report import DatasetReport
from r2p_edge.calibration.dataset.splitting import GroupSplit
from r2p_edge.calibration.matching import match_list
from r2p_edge.calibration.split_file import read_split
from r2p_edge.errors import SpecError, UsageError, VideoError
from r2p_edge.export.labels import read_labels
from r2p_edge.spec.checks import some_of
from r2p_edge.video.video_folder import VIDEO_SUFFIXES

TRAIN_LIST, TEST_LIST, CLASS_INDEX = "trainlist01.txt", "testlist01.txt", "classInd.txt"
"""Names of the three files."""

_LISTED = 5  # names in a message


def write_split(
    report: DatasetReport, split: GroupSplit, out: str | Path, *, replace: bool = False
) -> list[Path]:
    """Write the lists of a split, which are read again beforehand and must name the same videos.

    The train list has a line `<Class>/<video> <number>` for each video, the test list
    `<Class>/<video>`, and the index of classes `<number> <Class>`, counted from 1. Names that would
    be taken for columns or comments, such as those with commas, stand in quotes. Where names of
    classes would be taken for numbers, the index is a JSON list.

    Args:
        report, split: see `inspect_dataset` and `split_by_groups`.
        out: folder for the files, made if it does not exist.
        replace: put them in the place of other lists.

    Returns:
        The files.

    Raises:
        UsageError: other lists are there.
        VideoError: a name cannot stand in a list; it is named.
        OutputError: the files cannot be written; those that were there before still are.
    """
    out = Path(out)
    texts = {
        TRAIN_LIST: _lines(split.train, report.classes),
        TEST_LIST: _lines(split.test, ()),
    }
    disk = Catalogue(report.folder, report.classes, any_suffix=True)
    with scratch_folder(out) as scratch:
        for name, videos in ((TRAIN_LIST, split.train), (TEST_LIST, split.test)):
            _check(scratch / name, texts[name], videos, report, disk)
        texts[CLASS_INDEX] = _index(scratch / CLASS_INDEX, report.classes)
    files = {out / name: _encoded("".join(lines)) for name, lines in texts.items()}
    if not replace:
        for path, content in files.items():
            _check_not_replaced(path, content)
    with made_folder(out):
        atomic_files(files)
    return list(files)


def _lines(videos: Sequence[VideoFacts], classes: Sequence[str]) -> list[str]:
    """Return a line for each video, with the number of its class where there are classes."""
    number = {label: f" {index}" for index, label in enumerate(classes, 1)}
    return [f"{_quoted(video.name)}{number.get(video.label, '')}\n" for video in videos]


def _quoted(name: str) -> str:
    """Return a name as a reader of columns takes it for one."""
    spaced = len(name.split()) > 1 and Path(name).suffix.lower() not in VIDEO_SUFFIXES
    return f'"{name}"' if spaced or set(name) & set(",;\t#") else name


def _check(
    path: Path,
    lines: Sequence[str],
    videos: Sequence[VideoFacts],
    report: DatasetReport,
    disk: Catalogue,
) -> None:
    """Write a list, and make sure that its reader finds these videos in it.

    Raises:
        VideoError: it does not.
    """

    def reads(lines: Sequence[str], videos: Sequence[VideoFacts]) -> bool:
        path.write_bytes(_encoded("".join(lines)))
        try:
            found = match_list(read_split(path), report.classes, disk).videos
        except VideoError:
            return False
        wanted = [(video.name, video.label, None) for video in videos]
        return [(video.name, video.label, video.part) for video in found] == wanted

    if reads(lines, videos):
        return
    odd = [video for line, video in zip(lines, videos) if not reads([line], [video])] or videos
    listed = some_of([one_name(video.name) for video in odd], _LISTED)
    raise VideoError(
        f"a list with a line for each video cannot name {listed}; rename files and folders so that "
        "their names have no line breaks, backslashes or quotes, and no spaces at their ends"
    )


def _index(path: Path, classes: Sequence[str]) -> list[str]:
    """Return the lines of the index of classes, as its reader understands them.

    Raises:
        VideoError: it understands none.
    """
    numbered = [f"{number} {label}\n" for number, label in enumerate(classes, 1)]
    for lines in (numbered, [json.dumps(list(classes), ensure_ascii=False, indent=1), "\n"]):
        path.write_bytes(_encoded("".join(lines)))
        try:
            if read_labels(path) == tuple(classes):
                return lines
        except SpecError:
            continue
    odd = [label for label in classes if label != label.strip().strip('"')] or classes
    raise VideoError(
        f"a list of classes cannot name {some_of(list(map(repr, odd)), _LISTED)}; rename "
        "the folders so that their names have no spaces or quotes at their ends"
    )


def _check_not_replaced(path: Path, content: bytes) -> None:
    """Raise UsageError where another list lies at a path."""
    try:
        other = path.read_bytes() != content
    except OSError:  # it is not there; or it cannot be written either, which will be said
        return
    if other:
        raise UsageError(
            f"{path} is there and is another list; give another folder, or replace it (--replace)"
        )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
