"""Models in several files: how they are joined, and which of their files are not there."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from r2p_edge.spec.checks import some_of

JOIN_SAFETENSORS = (
    'join the parts: (cd FOLDER && python -c "import glob; from safetensors.torch import *; '
    "save_file({k: v for f in glob.glob('*-of-*.safetensors') for k, v in load_file(f).items()}, "
    "'joined.safetensors')\"), and give FOLDER/joined.safetensors"
)
"""Way from a model in several files of safetensors, in the folder FOLDER."""

JOIN_TORCH = (
    'join the parts: (cd FOLDER && python -c "import glob, torch; torch.save({k: v for f in '
    "glob.glob('*-of-*.*') if not f.endswith('.json') for k, v in torch.load(f, "
    "map_location='cpu', weights_only=True).items()}, 'joined.pth')\"), and give FOLDER/joined.pth"
)
"""Way from a model in several files of PyTorch's, in the folder FOLDER."""

_PART = re.compile(r"(.*-)(\d{5})-of-(\d{5})(\..+)")
_MOST_PARTS = 1000


def missing_parts(named: Collection[str], there: Collection[str]) -> list[str]:
    """Return the parts that are not there of the models in several files that some names are of."""
    found = {(part[1], part[3], part[4]) for part in map(_PART.fullmatch, named) if part}
    return [
        name
        for before, count, after in sorted(found)
        for number in range(1, min(int(count), _MOST_PARTS) + 1)
        if (name := f"{before}{number:05}-of-{count}{after}") not in there
    ]


def lacks_parts(missing: Sequence[str], folder: Path) -> str:
    """Return what is said of a model in several files of which some are not there."""
    are = "is" if len(missing) == 1 else "are"
    return (
        f"without all of its parts: {some_of(missing, 3)} {are} not in {folder}; bring "
        f"{'it' if len(missing) == 1 else 'them'} there (download or copy), and give the folder"
    )
