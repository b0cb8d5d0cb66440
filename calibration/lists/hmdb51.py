"""The split files of HMDB51: one for each class, with 1 after videos to train on and 2 to test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from r2p_edge.calibration.lists.entries import Entry, Subset, short_name
from r2p_edge.calibration.lists.table import read_text, rows_of
from r2p_edge.errors import VideoError

_NAME = re.compile(r"(?P<label>.+)_test_split(?P<split>\d+)", re.IGNORECASE)
_FLAGS: dict[Subset, str] = {"train": "1", "test": "2"}  # 0: neither


def is_split_of_class(path: Path) -> bool:
    """Return whether a file is named like one of these, e.g. `brush_hair_test_split1.txt`."""
    return _NAME.fullmatch(path.stem) is not None


def split_files(folder: Path) -> list[Path]:
    """Return the files of a folder of them, which must be those of one split.

    Raises:
        VideoError: the folder has none, or those of several splits, or cannot be listed.
    """
    try:
        files = sorted(path for path in folder.iterdir() if is_split_of_class(path))
    except OSError as error:
        raise VideoError(f"{folder} cannot be listed ({error.strerror}); check it") from error
    splits = sorted({match["split"] for path in files if (match := _NAME.fullmatch(path.stem))})
    if not splits:
        raise VideoError(
            f"list {folder} cannot be read: it is a folder without split files such as HMDB51's "
            "(brush_hair_test_split1.txt); give a list, which is a file"
        )
    if len(splits) > 1:
        raise VideoError(
            f"{folder} has the files of the splits {', '.join(splits)}; give a folder with those "
            f"of one of them (*_test_split{splits[0]}.txt)"
        )
    return files


def entries_of_classes(files: Sequence[Path], subset: Subset) -> list[Entry]:
    """Return the videos that these files name for the subset, of the classes in the files' names.

    Raises:
        VideoError: a file cannot be read, or a line does not end with 0, 1 or 2.
    """
    entries = []
    for file in files:
        match = _NAME.fullmatch(file.stem)
        assert match is not None
        for row in rows_of(read_text(file), file):
            if len(row.cells) != 2 or row.cells[1] not in ("0", "1", "2"):
                raise VideoError(
                    f"line {row.line} of {file} is {row.text!r:.200}; expected the name of a video "
                    "and 0, 1 (train) or 2 (test), as in HMDB51's split files"
                )
            if row.cells[1] == _FLAGS[subset]:
                names = ((short_name(row.cells[0]), None),)
                entries.append(Entry(row.line, names, match["label"]))
    return entries
