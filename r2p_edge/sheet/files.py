"""Contact sheets as files."""

from __future__ import annotations

import html
from pathlib import Path

from r2p_edge.artifact.atomic import atomic_write, check_folder
from r2p_edge.errors import UsageError
from r2p_edge.sheet.drawing import svg_of_look
from r2p_edge.sheet.look import SeenVideo

SHEET_FORMATS = (".svg", ".html")


def check_sheet_path(path: str | Path) -> None:
    """Make sure, before any work, that a sheet can be written at `path`.

    Raises:
        UsageError: its suffix is that of no format.
        OutputError: it cannot be written there.
    """
    path = Path(path)
    if path.suffix.lower() not in SHEET_FORMATS:
        raise UsageError(
            f"{path} is to become a contact sheet, which is written as "
            f"{' or '.join(SHEET_FORMATS)}; every browser opens both, and prints them as PDF"
        )
    check_folder(path)


def write_sheet(look: SeenVideo, path: str | Path) -> None:
    """Write the contact sheet of a look, whole or not at all.

    Args:
        look: what `look_at` returns.
        path: the file; .svg is a picture, .html a page with it, and both are in UTF-8 and need
            neither scripts nor a network.

    Raises:
        UsageError, OutputError: see `check_sheet_path`.
    """
    check_sheet_path(path)
    text = svg_of_look(look)
    if Path(path).suffix.lower() == ".html":
        title = html.escape(f"Contact sheet, {look.model}")
        text = (
            f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f'<body style="margin:0">\n{text}</body>\n</html>\n'
        )
    atomic_write(path, text.encode())
