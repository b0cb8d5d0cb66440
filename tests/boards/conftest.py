"""Files that the scripts of several boards take."""

from __future__ import annotations

import pytest


@pytest.fixture
def wheel(tmp_path):
    """Return a file with the name of a wheel."""
    (tmp_path / "r2p_edge-1.whl").write_bytes(b"")
    return tmp_path / "r2p_edge-1.whl"
