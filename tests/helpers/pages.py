"""The pages of the documentation as blocks: what stands in fences, and the comments above them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from paths import EXAMPLES, ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BOARDS = [EXAMPLES / board / "README.md" for board in ("jetson", "atlas", "rockchip")]
RUNNABLE = ("sh", "python")
LANGUAGES = (*RUNNABLE, "text")
MARK = re.compile(r"<!-- (long|needs|run by|not run)(?::? (.+))? -->")


@dataclass
class Block:
    """A fenced block: where it stands, what it is, the comments above it and the output shown."""

    page: Path
    line: int
    heading: str
    language: str
    marks: dict[str, str]
    code: str = ""
    output: str | None = None

    @property
    def name(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    return Reader(page).read()


@dataclass
class Reader:
    """The state of reading a page from its top."""

    page: Path
    heading: str = ""
    marks: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    open: Block | None = None
    adjacent: bool = False  # nothing stands between the last block and here

    def read(self) -> list[Block]:
        """Return the blocks of the page."""
        for number, line in enumerate(self.page.read_text(encoding="utf-8").splitlines(), 1):
            if self.open is not None:
                self._inside(line)
            elif line.startswith("```"):
                block = Block(self.page, number, self.heading, line[3:].strip(), self.marks)
                self.open, self.marks = block, {}
            elif mark := MARK.fullmatch(line):
                self.marks[mark[1]] = mark[2] or ""
                self.adjacent = False
            elif line.strip():
                assert not self.marks, f"{self.page.name}:{number}: no block follows the comment"
                self.adjacent = False
                self.heading = line.lstrip("# ") if line.startswith("#") else self.heading
        assert self.open is None, f"{self.open.name}: the block does not end"
        return self.blocks

    def _inside(self, line: str) -> None:
        block = self.open
        assert block is not None
        if line.rstrip() != "```":
            block.code += line + "\n"
            return
        if block.language == "text" and self.adjacent:
            self.blocks[-1].output = block.code
        self.blocks.append(block)
        self.open, self.adjacent = None, block.language in RUNNABLE


ALL = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [block for block in ALL if block.language in RUNNABLE]
