"""Requirements of some tests: without them a test is skipped, or fails if R2P_REQUIRE lists them.

R2P_REQUIRE is a comma-separated list of module names, and `data` for the clips; a test that needs
one of them then fails where it would have been skipped.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
from types import ModuleType

import pytest


def needs(name: str) -> pytest.MarkDecorator:
    """Return a mark for a test, or a module's `pytestmark`, that needs the module `name`.

    The test itself imports it; here it is only looked for.
    """
    reason = f"needs {name}, which is not installed"
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent and not is_required(name), reason=reason)


def require(name: str) -> None:
    """Skip the running test if the module `name` is missing; `needs`, for one case of it."""
    if importlib.util.find_spec(name) is None and not is_required(name):
        pytest.skip(f"needs {name}, which is not installed")


@functools.cache
def import_torchvision() -> ModuleType:
    """Import torchvision, even if its compiled operators do not fit the installed torch.

    Built for another torch it imports only once two of its operators are declared; none of the
    video models and transforms uses them.
    """
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        with contextlib.suppress(RuntimeError):  # torchvision has its own
            library.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")
    _kept.append(library)  # what it declares goes when it goes
    import torchvision

    return torchvision


_kept: list[object] = []


def is_required(name: str) -> bool:
    """Return whether R2P_REQUIRE lists the name."""
    return name in os.environ.get("R2P_REQUIRE", "").replace(" ", "").split(",")
