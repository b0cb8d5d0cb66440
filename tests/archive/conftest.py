"""Fixtures of the tests of archives."""

from archives import clips, model  # noqa: F401
