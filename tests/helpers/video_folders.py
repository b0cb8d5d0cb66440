"""Folders and lists of videos in the manner of UCF101, of empty files."""

from __future__ import annotations

from pathlib import Path

LABELS = ("HandStandPushups", "Yo Yo", "Diving")
NAMES = (
    "HandstandPushups/v_HandStandPushups_g01_c01.avi",
    "YoYo/v_YoYo_g01_c01.avi",
    "YoYo/v_YoYo_g01_c02.avi",
)
LIST = "".join(f"{name} {number}\n" for number, name in zip((1, 2, 2), NAMES))


def touch(folder: Path, *names: str) -> Path:
    """Create files whose text is their name, and return the folder."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return folder
