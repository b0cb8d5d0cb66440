"""Files that list the videos of a split, such as UCF101's `trainlist01.txt`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r2p_edge.calibration.lists.columns import is_header
from r2p_edge.calibration.lists.entries import Entry, Subset
from r2p_edge.calibration.lists.forms import listed_entries
from r2p_edge.calibration.lists.header import entries_by_header
from r2p_edge.calibration.lists.hmdb51 import entries_of_classes, is_split_of_class, split_files
from r2p_edge.calibration.lists.table import read_text, rows_of
from r2p_edge.errors import VideoError


@dataclass(frozen=True)
class Split:
    """The contents of a list.

    Attributes:
        entries: its videos.
        form: names of its columns, for messages.
        subset: "train" or "test".
        path: the file, or the folder of files.
        name: name of the file.
        sha256: sha256 of the file, in hexadecimal; of a folder, of its files' names and sha256.
    """

    entries: tuple[Entry, ...]
    form: str
    subset: Subset
    path: Path
    name: str
    sha256: str


def read_split(path: Path, subset: Subset = "test") -> Split:
    """Read a list of videos, one per line, in any of the forms of the page on evaluation.

    A list is of test videos if its lines have no labels, as `testlist01.txt`, if its name says
    test or val, or if a column does.

    Args:
        path: the list, or a folder of HMDB51's split files.
        subset: which videos to take of HMDB51's split files, which name both.

    Raises:
        VideoError: the file cannot be read, or is not such a list.
    """
    # Specs quote the name in UTF-8, which cannot encode every file name.
    name = path.name.encode(errors="replace").decode()
    if path.is_dir() or is_split_of_class(path):
        files = split_files(path) if path.is_dir() else [path]
        entries = entries_of_classes(files, subset)
        return Split(_some(entries, path), "video 0|1|2", subset, path, name, _sha256(files, path))
    text = read_text(path)
    if re.match(r'\s*(\{\s*"|\[\s*[\[{"])', text):
        raise VideoError(f"list {path} is JSON; expected a text file with a line for each video")
    rows = rows_of(text, path)
    said = None
    if is_header(rows[0].cells):
        entries, said = entries_by_header(rows, path)
        form = " ".join(rows[0].cells)
    else:
        form, entries = listed_entries(rows, path)
    if said is None:
        says_test = re.search(r"(?<![a-z])(test|val)", path.stem, re.IGNORECASE)
        said = "test" if says_test or all(e.label is None for e in entries) else "train"
    return Split(_some(entries, path), form, said, path, name, _sha256([path], path))


def _some(entries: Sequence[Entry], where: Path) -> tuple[Entry, ...]:
    if not entries:
        raise VideoError(f"list {where} names no video; expected lines as in trainlist01.txt")
    return tuple(entries)


def _sha256(files: Sequence[Path], path: Path) -> str:
    if files == [path]:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
