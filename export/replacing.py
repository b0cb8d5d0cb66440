"""The check that an export puts no model in the place of another one of its name."""

from __future__ import annotations

import glob
from pathlib import Path

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import R2PError, UsageError
from r2p_edge.runtimes import RUNTIMES
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.difference import difference_of_models


def check_replaced(folder: Path, contract: ModelSpec) -> None:
    """Refuse a name that another model in a folder has.

    A model of other classes or another network is another one. One that was trained anew takes the
    place of the older.

    Raises:
        UsageError: there is such a model.
    """
    suffixes = {suffix for row in RUNTIMES.values() for suffix in row.suffixes}
    try:
        files = sorted(folder.glob(f"{glob.escape(contract.name)}-*"))
    except (OSError, ValueError):  # a name that no folder can have; writing there tells so
        return
    for path in files:
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        try:
            found = open_artifact(path).spec
        except R2PError:  # damaged, or not of ours; what cannot be used is no loss
            continue
        if found.name != contract.name:
            continue
        differs = difference_of_models(found, contract)
        if differs:
            raise UsageError(
                f"{path} is another model of the name {contract.name} ({differs}); give another "
                "--name or --out, or replace it (--replace)"
            )
