"""Parity checks of artifacts against their sources."""
