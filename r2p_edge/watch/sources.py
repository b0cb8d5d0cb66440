"""Sources with names, and the file that lists them with their options and the events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from r2p_edge.addresses import without_password
from r2p_edge.errors import UsageError
from r2p_edge.live.options import STREAM_OPTIONS, StreamOptions, check_known
from r2p_edge.live.settings import read_settings
from r2p_edge.watch.rules import EventRule, parse_rule

_NAMED = re.compile(r"(?P<name>[^\W_][\w.-]*)=(?P<source>.+)", re.DOTALL)
_RULE_KEYS = ("when", "min_length", "cool_down", "hysteresis")


class NamedSource(NamedTuple):
    """A source to watch.

    Attributes:
        name: name for answers, events and messages.
        source: see `Predictor.stream`.
        options: what is different from the options of all sources.
    """

    name: str
    source: int | str | Path
    options: StreamOptions

    def __repr__(self) -> str:
        return f"NamedSource({self.name!r})"


def parse_source(text: str) -> NamedSource:
    """Return the source of a text such as "door=rtsp://camera/1" or "yard=0".

    Raises:
        UsageError: it has no name.
    """
    found = _NAMED.fullmatch(text)
    if found is None:
        raise UsageError(
            f"the source {without_password(text)!r} has no name; put one and an equals sign in "
            f"front of it, as in door={without_password(text)}"
        )
    return NamedSource(found["name"], _source(found["source"]), {})


def _source(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() else text


def read_watch_file(path: str | Path) -> tuple[list[NamedSource], list[EventRule]]:
    """Return the sources and the rules of a file in TOML or YAML.

    Its table `sources` has the source of each name, or a table with `source` and the options of
    `Predictor.stream`; its table `events` has the rule of each name ("fall>0.8"), or a table with
    `when`, that rule, and `min_length`, `cool_down` and `hysteresis`.

    Raises:
        UsageError: it cannot be read, or has something else in it.
        MissingDependencyError: it is YAML, and PyYAML is not installed.
    """
    data = read_settings(path)
    check_known(str(path), data, ("sources", "events"), "keys")
    sources = [
        _named_source(name, value, f"{path}, source {name}")
        for name, value in _entries(data, "sources", path)
    ]
    rules = [
        _rule(name, value, f"{path}, event {name}")
        for name, value in _entries(data, "events", path)
    ]
    return sources, rules


def _entries(data: Mapping[str, Any], key: str, path: str | Path) -> Iterable[tuple[str, Any]]:
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {key} is no table; write [{key}] and a name in each line below")
    for name in table:
        if not isinstance(name, str):  # of YAML, where yes, no, on and off are none
            raise UsageError(f"{path}: {name} in {key} is no name; write it in quotes")
    return table.items()


def _named_source(name: str, value: Any, where: str) -> NamedSource:
    options = dict(value) if isinstance(value, dict) else {"source": value}
    check_known(where, options, ("source", *STREAM_OPTIONS), "options")
    source = options.pop("source", None)
    if isinstance(source, str):
        source = _source(source)
    if not isinstance(source, (str, int)) or isinstance(source, bool):
        raise UsageError(
            f'{where}: there is no source; write an address, as in source = "rtsp://camera/1", a '
            "camera's number, a pipeline or a path"
        )
    return NamedSource(name, source, cast(StreamOptions, options))


def _rule(name: str, value: Any, where: str) -> EventRule:
    keys = dict(value) if isinstance(value, dict) else {"when": value}
    check_known(where, keys, _RULE_KEYS, "keys")
    when = keys.pop("when", None)
    if not isinstance(when, str):
        raise UsageError(f'{where}: there is no rule; write one, as in when = "fall>0.8"')
    return parse_rule(when, name=name, **keys)


def by_name(sources: Iterable[NamedSource]) -> dict[str, NamedSource]:
    """Return sources by their names.

    Raises:
        UsageError: there are none, two have the same name, or one has a name that cannot be seen.
    """
    found: dict[str, NamedSource] = {}
    for each in sources:
        if not each.name.isprintable() or each.name.strip() != each.name or not each.name:
            raise UsageError(
                f"{each.name!r} is no name of a source; give letters and digits, such as door"
            )
        if each.name in found:
            raise UsageError(f"two sources are named {each.name}; give one of them another name")
        found[each.name] = each
    if not found:
        raise UsageError("there is no source to watch; give one with a name, as in door=0")
    return found
