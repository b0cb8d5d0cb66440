"""Fixtures of the tests of engines."""

from archives import clips, model  # noqa: F401
