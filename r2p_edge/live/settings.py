"""Files of settings, in TOML or YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from r2p_edge._optional import import_library
from r2p_edge.errors import UsageError, one_line


def read_settings(path: str | Path) -> dict[str, Any]:
    """Return the content of a file, whose suffix says its language: `.toml`, `.yaml` or `.yml`.

    Raises:
        UsageError: it cannot be read, has another suffix, or is not written in that language. What
            stands in it is not repeated.
        MissingDependencyError: PyYAML is not installed.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".toml", ".yaml", ".yml"):
        raise UsageError(
            f"{path} ends in {kind or 'no suffix'}; write the file in TOML and end it in .toml"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read ({reason}); check the path") from error
    data = _read_toml(path, text) if kind == ".toml" else _read_yaml(path, text)
    if not isinstance(data, dict):
        raise UsageError(f"{path} is a {type(data).__name__}; expected names with their values")
    return data


def _read_toml(path: Path, text: str) -> Any:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    toml = import_library(name, "run: pip install tomli")
    try:
        return toml.loads(text)
    except toml.TOMLDecodeError as error:
        # It says where, and may repeat a key, but no value.
        raise UsageError(f"{path} is not TOML ({one_line(error)}); correct it there") from None


def _read_yaml(path: Path, text: str) -> Any:
    yaml = import_library("yaml", "run: pip install pyyaml, or write the file in TOML")
    try:
        _check_once(path, yaml.compose(text, yaml.SafeLoader))
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        # The whole message has lines of the file.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark is not None else "its syntax"
        raise UsageError(f"{path} is not YAML ({where}); correct it there") from None


def _check_once(path: Path, root: Any) -> None:
    """Raise UsageError where a key stands in a table of YAML twice, which takes the last of them.

    Args:
        path: the file.
        root: its outermost node; None if it is empty.
    """
    nodes, done = [root], set()
    while nodes:
        node = nodes.pop()
        value = getattr(node, "value", None)
        if not isinstance(value, list) or id(node) in done:  # an alias may name its own table
            continue
        done.add(id(node))
        if not (value and isinstance(value[0], tuple)):
            nodes += value
            continue
        seen = set()
        for key, each in value:
            if isinstance(key.value, str):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"{path} has {key.value} twice (line {line}); take one out")
                seen.add(key.value)
            nodes.append(each)
