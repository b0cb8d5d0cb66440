"""Parquet, which needs pyarrow."""

from __future__ import annotations

import importlib
from types import ModuleType

from r2p_edge._optional import import_library


def import_parquet() -> ModuleType:
    """Return the module `pyarrow.parquet`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        BackendError: its import fails.
    """
    import_library("pyarrow", "pip install pyarrow, or take CSV")
    return importlib.import_module("pyarrow.parquet")
