"""Parity checks: an artifact answers as its source does."""
