"""Fixtures of the tests of the server."""

from __future__ import annotations

import pytest
from kserve import serving_brightness


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of a model of brightness."""
    with serving_brightness(tmp_path_factory.mktemp("served")) as running:
        yield running
