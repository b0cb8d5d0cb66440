"""The table of published weights, from the registry that `r2p-edge weights` reads.

    python docs/scripts/weights_table.py

writes it into `docs/weights.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

from r2p_edge.export.published.registry import PublishedWeights, read_registry

PAGE = Path(__file__).parents[1] / "weights.md"
_PART = re.compile(r"(<!-- weights -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def table() -> str:
    """Return the table as Markdown."""
    rows = [
        "| ID | trained on | frames | family | preset | digest | licence |",
        "|---|---|---|---|---|---|---|",
        *map(_row, read_registry().values()),
    ]
    return "\n".join(rows)


def _row(entry: PublishedWeights) -> str:
    digest = entry.published
    cells = (
        f"`{entry.id}`" + (", by hand" if entry.status == "by-hand" else ""),
        entry.trained_on,
        "" if entry.frames is None else str(entry.frames),
        "not read yet" if entry.family is None else f"`{entry.family}`",
        "none" if entry.preset is None else f"`{entry.preset}`",
        "none" if digest is None else digest.kind,
        f"[{entry.licence}]({entry.licence_url})",
    )
    return f"| {' | '.join(cells)} |"


def filled(page: str) -> str:
    """Return a page with the table as it is now."""
    return _PART.sub(lambda part: part[1] + table() + part[2], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
