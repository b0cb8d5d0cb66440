"""Optional packages, imported when they are needed, and the error where one is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from r2p_edge._telemetry import no_telemetry
from r2p_edge.errors import BackendError, MissingDependencyError, ending_behind, one_line

OPENCV = "pip install opencv-python-headless"


def missing(package: str) -> MissingDependencyError:
    """Return the error to raise where `package` cannot be imported."""
    # Not an extra of r2p_edge: no index has this package, and anybody could register its name.
    return MissingDependencyError(
        f"this needs the package {package}, which is not installed; run: pip install {package}"
    )


def import_library(name: str, install: str) -> ModuleType:
    """Import the module `name`, which then reports its use to nobody, and return it.

    Args:
        install: advice for the error message if it is missing.

    Raises:
        MissingDependencyError: it is not installed.
        BackendError: it is installed but its import fails.
    """
    try:
        with no_telemetry():
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name:
            raise MissingDependencyError(f"{name} is not installed; {install}") from error
        raise _broken(name, error) from error
    # A library that does not fit the machine raises any class: ImportError, OSError, ...
    except Exception as error:
        if (ending := ending_behind(error)) is not None:
            raise ending from None
        raise _broken(name, error) from error
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        # Left over from an incomplete uninstallation.
        folder = next(iter(module.__path__))
        raise _broken(name, ImportError(f"{folder} is a folder without code"))
    return module


def _broken(name: str, error: Exception) -> BackendError:
    return BackendError(
        f"{name} is installed but cannot be imported ({one_line(error)}); install it again, or a "
        "version that fits this machine"
    )
