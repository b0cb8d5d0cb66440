"""The table of the families of networks, from the data that the export reads.

    python docs/scripts/family_table.py

writes it into `docs/export.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

from r2p_edge.export.checkpoints.families import FAMILIES, Family
from r2p_edge.export.checkpoints.layouts import NetworkLayout

PAGE = Path(__file__).parents[1] / "export.md"
_PART = re.compile(r"(<!-- families -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def table() -> str:
    """Return the table as Markdown."""
    rows = [
        "| `--family` | source | network | blocks | batch norms' epsilon | pool | proven on |",
        "|---|---|---|---|---|---|---|",
        *map(_row, FAMILIES.values()),
    ]
    return "\n".join(rows)


def _row(family: Family) -> str:
    kind = "inception"
    if isinstance(family.layout, NetworkLayout):
        kind = "basic" if len(family.layout.convs) == 2 else "bottleneck"
    inner = "" if family.inner_eps is None else f" (between halves {family.inner_eps:g})"
    pool = "none" if family.pool is None else "x".join(map(str, family.pool.kernel))
    pool = "its own" if kind == "inception" else pool
    proof = "logits of its code" if family.oracle else "its source (no oracle)"
    eps = f"{family.eps:g}{inner}"
    cells = (f"`{family.name}`", family.source, family.network, kind, eps, pool, proof)
    return f"| {' | '.join(cells)} |"


def filled(page: str) -> str:
    """Return a page with the table as it is now."""
    return _PART.sub(lambda part: part[1] + table() + part[2], page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
