"""The usual work as sessions: `nox -s install test lint docs bench`."""

from __future__ import annotations

import nox

nox.options.sessions = ["test", "lint", "docs"]
nox.options.reuse_existing_virtualenvs = True

BENCHMARKS = ("startup", "preprocess", "overhead", "decode", "stream", "runtimes", "int8", "verb")


@nox.session(python=False)
def install(session: nox.Session) -> None:
    """Install the package for work on it, into the environment that is active."""
    session.run("python", "-m", "pip", "install", "-e", ".[dev]")
    session.run("pre-commit", "install")


@nox.session
def test(session: nox.Session) -> None:
    """Run the fast tests; `nox -s test -- -m slow` and the like choose others."""
    session.install("-e", ".[test]", env={"R2P_REQUIRE_EXT": "1"})
    session.run("pytest", *(session.posargs or ["-m", "not slow"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    session.install("-e", ".[dev]")
    session.run("pre-commit", "run", "--all-files")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages into site/."""
    session.install("-e", ".[docs]")
    session.run("python", "docs/scripts/draw_overview.py")
    session.run("python", "-m", "mkdocs", "build", "--strict")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, or those named: `nox -s bench -- preprocess`."""
    session.install("-e", ".[test,torch]", "torchvision", env={"R2P_REQUIRE_EXT": "1"})
    for name in session.posargs or BENCHMARKS:
        session.run("python", f"tests/benchmarks/{name}.py")
