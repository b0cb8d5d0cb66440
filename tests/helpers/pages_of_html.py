"""Pages of HTML, checked and read without a browser."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

_VOID = {"br", "img", "meta"}
"""Elements of HTML without an end."""


class CheckedPage(HTMLParser):
    """A page whose elements are all closed, and that needs neither scripts nor a network.

    Attributes:
        text: its text, without the style.
        alts: texts in place of pictures.
        headers: number of header cells.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []
        self._ids: set[str] = set()
        self.alts: list[str] = []
        self.headers = 0
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        if tag not in _VOID:
            self._open.append(tag)
        found = dict(attributes)
        for name, value in attributes:
            assert not name.startswith("on"), name
            if name in {"src", "href"}:
                assert value.startswith(("data:image/", "#")), value
        if "id" in found:
            assert found["id"] not in self._ids
            self._ids.add(found["id"])
        if tag == "img":
            assert found["alt"]
            self.alts.append(found["alt"])
        if tag == "svg":
            assert found.get("aria-label") or found.get("aria-hidden") == "true"
        if tag == "th":
            assert found.get("scope") in {"row", "col"}, attributes
            self.headers += 1

    def handle_startendtag(self, tag, attributes):
        assert tag in {"circle", "image", "path", "rect"}  # of SVG
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data
