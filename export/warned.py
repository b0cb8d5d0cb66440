"""Warnings of an export, in the artifacts' `checks`."""

from __future__ import annotations

from collections.abc import Sequence

from r2p_edge.spec import ModelSpec


def warnings_of(spec: ModelSpec) -> list[str]:
    """Return the warnings that a spec has, a sentence each."""
    found = (spec.checks or {}).get("warnings")
    return [str(each) for each in found] if isinstance(found, (list, tuple)) else []


def warned(spec: ModelSpec, warnings: Sequence[str]) -> ModelSpec:
    """Return a spec with these warnings too, each of them once."""
    found = list(dict.fromkeys([*warnings_of(spec), *warnings]))
    return spec.replace(checks={**(spec.checks or {}), "warnings": found}) if found else spec
