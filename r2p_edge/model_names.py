"""Names of models on servers, where they are part of addresses and of paths."""

from __future__ import annotations

import re

from r2p_edge.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def check_model_name(name: str) -> None:
    """Check that a server may have a model of this name.

    Raises:
        UsageError: it is longer than 100 characters, does not begin with a letter or a digit, or
            has others than these, points, hyphens and underscores.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a model on a server, where it is part of addresses "
            "and paths; give a --name of letters, digits, points, hyphens and underscores"
        )
