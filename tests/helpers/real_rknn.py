"""The real RKNN-Toolkit2 for tests, in the Python that R2P_RKNN_PYTHON names.

It builds and simulates; what a board does with a file it does not show.
"""

from __future__ import annotations

import functools
import os
import subprocess

import pytest
from requirements import is_required

REQUIREMENT = "rknn_toolkit2"
"""Name for R2P_REQUIRE; it is no module's."""

_LOOK = "import importlib.metadata as m; m.version('rknn-toolkit2'); import torch"


@functools.cache
def toolkit_is_here() -> bool:
    """Return whether the variable names a Python with the toolkit."""
    named = os.environ.get("R2P_RKNN_PYTHON")
    return bool(named) and subprocess.run([named, "-c", _LOOK], capture_output=True).returncode == 0


def needs_toolkit() -> pytest.MarkDecorator:
    """Return a mark for tests that need the real toolkit."""
    missing = not is_required(REQUIREMENT) and not toolkit_is_here()
    reason = "needs RKNN-Toolkit2 in the Python that R2P_RKNN_PYTHON names"
    return pytest.mark.skipif(missing, reason=reason)
