"""Files that list the videos of a split, such as UCF101's `trainlist01.txt`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from r2p_edge.errors import VideoError


@dataclass(frozen=True)
class Split:
    """The contents of a list file.

    Attributes:
        names: of its videos, `<Class>/<video>`.
        subset: "train" or "test".
        name: of the file.
        sha256: of the file, in hexadecimal.
    """

    names: tuple[str, ...]
    subset: Literal["train", "test"]
    name: str
    sha256: str


def read_split(path: Path) -> Split:
    """Read a list of videos, one per line, with a class id after each name or after none.

    A list is of test videos if its lines have no class ids, as `testlist01.txt`, or if its name
    says test or val.

    Raises:
        VideoError: the file cannot be read, or is not such a list.
    """
    try:
        data = path.read_bytes()
        lines = data.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VideoError(f"list {path} cannot be read as UTF-8 text ({error})") from error
    names, with_id = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = re.sub(r"\s+\d+$", "", line.strip())
        with_id.append(name != line.strip())
        parts = PurePosixPath(name.replace("\\", "/")).parts[-2:]
        if len(parts) != 2 or with_id[-1] != with_id[0]:
            raise VideoError(
                f"line {number} of {path} is {line.strip()!r:.200}; expected <Class>/<video>, with "
                "a class id after it in all lines or in none, as in trainlist01.txt"
            )
        names.append("/".join(parts))
    if not names:
        raise VideoError(f"list {path} names no video; expected lines as in trainlist01.txt")
    says_test = re.search(r"(?<![a-z])(test|val)", path.stem, re.IGNORECASE)
    subset: Literal["train", "test"] = "test" if says_test or not with_id[0] else "train"
    # Specs quote the name in UTF-8, which cannot encode every file name.
    quoted = path.name.encode(errors="replace").decode()
    return Split(tuple(names), subset, quoted, hashlib.sha256(data).hexdigest())
