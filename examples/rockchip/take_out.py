"""Moves what a kit has built into a folder, and adds it to the folder's manifest if it has one.

    python take_out.py KIT FOLDER

The code that this needs is in the kit, since the toolkit's Python has no r2p_edge.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


def main(kit: Path, out: Path) -> None:
    """Move the artifact of the kit, and what belongs to it."""
    sys.path.insert(0, str(kit / "r2p_edge.zip"))
    from r2p_edge.artifact import bundle
    from r2p_edge.errors import R2PError

    name = json.loads((kit / "kit.json").read_text(encoding="utf-8"))["artifact"]
    built = [file for file in kit.iterdir() if file.name.startswith(name)]
    for file in built:
        shutil.move(file, out / file.name)
    try:
        # A folder of an export would count as damaged.
        if bundle.listed(out) is not None:
            bundle.record(out, [out / name], [out / file.name for file in built])
    except R2PError as error:
        print(f"take_out.py: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
