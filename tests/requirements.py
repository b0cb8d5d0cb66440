"""What some tests need beyond the package: skipped without it, unless R2P_REQUIRE says otherwise.

R2P_REQUIRE is a comma-separated list of module names, and `data` for the clips; a test that needs
one of them then fails where it would have been skipped.
"""

from __future__ import annotations

import importlib.util
import os

import pytest


def needs(name: str) -> pytest.MarkDecorator:
    """Marks a test, or a module's `pytestmark`, that needs the module `name`.

    The test itself imports it; here it is only looked for.
    """
    reason = f"needs {name}, which is not installed"
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent and not is_required(name), reason=reason)


def is_required(name: str) -> bool:
    """Whether R2P_REQUIRE lists the name."""
    return name in os.environ.get("R2P_REQUIRE", "").replace(" ", "").split(",")
