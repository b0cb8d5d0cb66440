"""The packages that made an artifact, as its spec records them."""

from __future__ import annotations

from importlib import metadata

from r2p_edge._version import __version__


def built_with(*packages: str) -> dict[str, str]:
    """Return {"r2p_edge": version, package: version, ...}, for `ModelSpec.built_with`."""
    return {"r2p_edge": __version__, **{package: metadata.version(package) for package in packages}}
