"""Opening the sources of a `PredictionStream`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from r2p_edge.errors import UsageError
from r2p_edge.live.arguments import check_number
from r2p_edge.live.capture.open import open_capture
from r2p_edge.live.predictions import Feed, PredictionStream
from r2p_edge.live.stream import Stream
from r2p_edge.live.systemd import Notifier
from r2p_edge.spec import ClipSpec

_GRACE_SECONDS = 1.0
"""Time for a reader that gives up by itself, and then says why, before it counts as hung."""


def open_streams(
    sources: Mapping[str, int | str | Path],
    clip: ClipSpec,
    new_stream: Callable[[str], Stream],
    *,
    policy: Literal["latest", "all"] | None,
    timeout: float,
    reconnect: float,
    transport: Literal["tcp", "udp"],
    notify: bool,
) -> PredictionStream:
    """Open sources by name and start to read them.

    Args:
        clip: how the model wants its frames.
        new_stream: returns the stream for a source's name.
        policy, timeout, reconnect, transport, notify: see `Predictor.stream`, also for the errors.
    """
    if policy not in (None, "latest", "all"):
        raise UsageError(f"policy is {policy!r}; it must be 'latest' or 'all'")
    if transport not in ("tcp", "udp"):
        raise UsageError(f"transport is {transport!r}; it must be 'tcp' or 'udp'")
    check_number("timeout", timeout, lambda x: x > 0, "a number of seconds above 0")
    check_number("reconnect", reconnect, lambda x: x >= 0, "a number of seconds from 0 on")
    if not sources:
        raise UsageError("there are no sources to stream; give at least one")
    feeds: list[Feed] = []
    try:
        for name, source in sources.items():
            stream = new_stream(name)
            capture = open_capture(
                source,
                clip,
                stream.buffer.tick,
                timeout=timeout,
                reconnect=reconnect,
                transport=transport,
            )
            if policy == "latest" and not capture.live:
                capture.close()
                raise UsageError(
                    f"{name} has an end and waits to be read, so no answer need be skipped; leave "
                    "out policy"
                )
            wanted = policy or ("latest" if capture.live else "all")
            patience = capture.timeout + reconnect + _GRACE_SECONDS
            feeds.append(Feed(stream, capture, wanted, patience))
    except BaseException:
        for feed in feeds:
            feed.capture.close()
        raise
    return PredictionStream(feeds, notifier=Notifier() if notify else None)
