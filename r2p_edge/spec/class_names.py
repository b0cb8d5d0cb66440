"""Names of classes, compared across the spellings of lists, folders and models."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence


def class_finder(labels: Sequence[str]) -> Callable[[str], int | None]:
    """Return a function that finds the index in `labels` of a class's name in any spelling.

    Case, spaces and punctuation do not count, unless two labels differ in nothing else. The
    function returns None for other classes.
    """
    exact = {label: index for index, label in enumerate(labels)}
    folded: dict[str, list[int]] = {}
    for label, index in exact.items():
        folded.setdefault(fold(label), []).append(index)

    def find(name: str) -> int | None:
        if name in exact:
            return exact[name]
        like = folded.get(fold(name), [])
        return like[0] if len(like) == 1 else None

    return find


def fold(name: str) -> str:
    """Return a class's name as it is compared: letters and digits only, without case."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", name).casefold()))
