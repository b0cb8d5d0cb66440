"""The packages that an export needs: how a missing one is reported, how a used one is recorded."""

from __future__ import annotations

from importlib import metadata

from r2p_edge._version import __version__
from r2p_edge.errors import MissingDependencyError


def missing(package: str, extra: str) -> MissingDependencyError:
    """The error to raise where `package`, which the extra installs, cannot be imported."""
    return MissingDependencyError(
        f"this needs the package {package}, which is not installed; "
        f'run: pip install "r2p_edge[{extra}]"'
    )


def built_with(*packages: str) -> dict[str, str]:
    """{"r2p_edge": its version, package: its version, ...}, for `ModelSpec.built_with`."""
    return {"r2p_edge": __version__, **{package: metadata.version(package) for package in packages}}
