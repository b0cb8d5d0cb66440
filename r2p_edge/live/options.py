"""Options of one live source and of the answers on it, as `stream_many` takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypedDict, cast

from r2p_edge.errors import UsageError, similar_name


class StreamOptions(TypedDict, total=False):
    """Options of one source; see `Predictor.stream` for what they mean."""

    fps: float | None
    policy: Literal["latest", "all"] | None
    timeout: float
    reconnect: float
    transport: Literal["tcp", "udp"]
    stride: int | None
    every: float | None
    smoothing: float | None
    majority: int | None
    hysteresis: float
    min_score: float
    motion: float | None
    reuse: Literal["features"] | None
    border: Literal["flush", "wait"] | None


STREAM_OPTIONS = tuple(StreamOptions.__annotations__)
"""Names of the options of a source."""


def options_of_each(
    names: Iterable[str], common: StreamOptions, own: Mapping[str, StreamOptions]
) -> dict[str, StreamOptions]:
    """Return the options of each source: those of all, and its own in their place.

    Args:
        names: the sources.
        common: options of all sources.
        own: options of single sources.

    Raises:
        UsageError: `own` names an option or a source that does not exist.
    """
    names = list(names)
    for name, options in own.items():
        check_known(name, [name], names, "sources")
        check_known(f"the options of {name}", options, STREAM_OPTIONS, "options")
    return {name: _merged(common, own.get(name, {})) for name in names}


def _merged(common: StreamOptions, own: StreamOptions) -> StreamOptions:
    rest: dict[str, Any] = dict(common)
    if "every" in own or "stride" in own:  # either takes the place of both
        rest.update(every=None, stride=None)
    if own.get("reuse", "features") is None:  # it has no border
        rest.update(border=None)
    if "smoothing" in own or "majority" in own:
        rest.update(smoothing=None, majority=None)
    return cast(StreamOptions, {**rest, **own})


def check_known(where: str, given: Iterable[str], known: Iterable[str], what: str) -> None:
    """Check that all names are known.

    Args:
        where: where they stand, for the message.
        given: the names.
        known: the names that there are.
        what: word for them, in the plural.

    Raises:
        UsageError: one is not known; the message has the nearest.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise UsageError(
                f"{where}: there is no {name!r} among the {what}; {similar_name(str(name), known)}"
                f"expected {', '.join(known)}"
            )
