"""MkDocs hooks: fill in the parts of pages that are written elsewhere.

A page marks such a part with two comments; what stands between them is for readers of the Markdown
itself and is replaced:

    <!-- generated: cli -->             the verbs and options, from the argument parser
    <!-- generated: FILE -->            a file of the repository, its links adapted
    <!-- end -->
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # MkDocs loads this file by its path

from cli_page import cli_page  # noqa: E402

_PART = re.compile(r"<!-- generated: (\S+) -->.*?<!-- end -->", re.DOTALL)
_LINK = re.compile(r"(\]\()([^)#:]+)(#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page's text with every generated part filled in."""
    source = page.file.src_uri

    def part(match: re.Match[str]) -> str:
        return cli_page() if match[1] == "cli" else included(match[1], source)

    return _PART.sub(part, markdown)


def included(file: str, page: str) -> str:
    """Return the text of a file of the repository, with links that hold on `page`.

    Args:
        file: path from the root of the repository.
        page: path of the page from `docs/`.
    """

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(file), match[2]))
        target = PAGES.get(target, target)
        folder = posixpath.dirname(f"docs/{page}")
        return f"{match[1]}{posixpath.relpath(target, folder)}{match[3] or ''})"

    return _LINK.sub(link, (ROOT / file).read_text(encoding="utf-8"))


PAGES = {
    "CONTRIBUTING.md": "docs/contributing.md",
    "CHANGELOG.md": "docs/changelog.md",
    "README.md": "docs/index.md",
    "examples/jetson/README.md": "docs/devices/jetson.md",
    "examples/atlas/README.md": "docs/devices/atlas.md",
    "examples/rockchip/README.md": "docs/devices/rockchip.md",
}
"""Files of the repository that are pages too."""
