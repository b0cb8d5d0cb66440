"""Files of labels that lie beside a list whose labels are numbers."""

from __future__ import annotations

from pathlib import Path

from r2p_edge.errors import SpecError, VideoError
from r2p_edge.export.labels import read_labels

LABEL_FILES = ("classInd.txt", "label.txt", "labels.txt")
"""Names of such files, of UCF101 and of PaddlePaddle's data sets."""


def classes_beside(path: Path) -> tuple[str, ...] | None:
    """Return the names in the file of labels beside a list; None if there is no such file.

    Raises:
        VideoError: the file is there and cannot be read.
    """
    for name in LABEL_FILES:
        file = path.with_name(name)
        if file != path and file.is_file():
            try:
                return read_labels(file)
            except SpecError as error:
                raise VideoError(
                    f"the labels beside list {path} cannot be used: {error}"
                ) from error
    return None
