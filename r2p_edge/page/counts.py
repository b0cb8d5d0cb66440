"""The numbers of watched sources, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from r2p_edge._version import __version__
from r2p_edge.prediction import Prediction
from r2p_edge.web.metrics import Counter, Gauge, Histogram, Metrics

_BY_SOURCE = ("source",)
_FACTS = ("model", "runtime", "device", "precision")


class Deliveries(Protocol):
    """Numbers of the events for a receiver."""

    @property
    def sent(self) -> int:
        """Number of those that arrived."""

    @property
    def failed(self) -> int:
        """Number of those that were given up."""

    @property
    def dropped(self) -> int:
        """Number of those that gave way to newer ones."""


class BoardCounts:
    """The numbers of a board.

    Args:
        about: facts of the model, see `Board`.

    Attributes:
        metrics: all of them; more may be added.
        frames, pictures, reconnects, up, age: those that the board sets itself.
        connections: returns the number of connections to the page.
    """

    def __init__(self, about: Mapping[str, str]) -> None:
        self.metrics = Metrics()
        add = self.metrics.add
        labels = ("version", *_FACTS)
        build = add(Gauge("r2p_build_info", "Versions and model of this program; 1.", labels))
        build.set(1, __version__, *(about.get(name, "") for name in _FACTS))
        self.up = add(Gauge("r2p_source_up", "1 while the source gives frames.", _BY_SOURCE))
        self.age = add(
            Gauge("r2p_frame_age_seconds", "Time since the newest frame came.", _BY_SOURCE)
        )
        self.reconnects = add(
            Counter("r2p_source_reconnects_total", "Times that it came back.", _BY_SOURCE)
        )
        self.frames = add(Counter("r2p_frames_total", "Frames that came.", _BY_SOURCE))
        self._dropped = add(
            Counter(
                "r2p_frames_dropped_total",
                "Frames that were not used, because reading was too slow or they were damaged.",
                _BY_SOURCE,
            )
        )
        self._gaps = add(
            Counter("r2p_gaps_total", "Times that the clip was emptied and begun anew.", _BY_SOURCE)
        )
        self._skipped = add(
            Counter(
                "r2p_answers_skipped_total",
                "Clips without an answer, because a newer one took their turn.",
                _BY_SOURCE,
            )
        )
        self._answers = add(
            Counter("r2p_answers_total", "Answers, by their label.", ("source", "label"))
        )
        self._inference = add(
            Histogram("r2p_inference_seconds", "Time of the model for an answer.", _BY_SOURCE)
        )
        self._lag = add(
            Gauge(
                "r2p_lag_seconds",
                "Time from the newest frame of the newest answer's clip to the answer.",
                _BY_SOURCE,
            )
        )
        self._events = add(
            Counter("r2p_events_total", "Events, by rule and type.", ("source", "rule", "type"))
        )
        self.pictures = add(
            Counter("r2p_page_pictures_total", "Pictures encoded for viewers.", _BY_SOURCE)
        )
        self.connections: Callable[[], int] = lambda: 0
        viewers = add(Gauge("r2p_page_connections", "Open connections to the page."))
        self.metrics.before_reading(lambda: viewers.set(self.connections()))

    def add_answer(self, source: str, prediction: Prediction) -> None:
        """Count an answer."""
        self._answers.add(1, source, prediction.label)
        if (live := prediction.live) is None:
            return
        self._lag.set(live.age_ms / 1e3, source)
        self._dropped.reach(live.dropped, source)
        self._gaps.reach(live.gaps, source)
        self._skipped.reach(live.skipped, source)
        if not live.still:
            self._inference.observe(prediction.timing.inference / 1e3, source)

    def add_event(self, event: Mapping[str, Any]) -> None:
        """Count an event."""
        self._events.add(1, *(str(event.get(name, "")) for name in ("source", "rule", "type")))

    def follow(self, read: Callable[[], Mapping[str, Deliveries]]) -> None:
        """Show what became of the events for each receiver.

        Args:
            read: returns the numbers of each receiver by its name.
        """
        deliveries = self.metrics.add(
            Counter(
                "r2p_deliveries_total",
                "Events for each receiver, by what became of them.",
                ("receiver", "outcome"),
            )
        )

        def update() -> None:
            for name, counts in read().items():
                deliveries.reach(counts.sent, name, "sent")
                deliveries.reach(counts.failed, name, "failed")
                deliveries.reach(counts.dropped, name, "dropped")

        self.metrics.before_reading(update)
