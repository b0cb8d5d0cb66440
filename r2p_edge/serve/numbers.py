"""Numbers of a server of a model, for Prometheus."""

from __future__ import annotations

from r2p_edge._version import __version__
from r2p_edge.predictor import Predictor
from r2p_edge.web import Counter, Gauge, Histogram, Metrics


class ServerNumbers:
    """Numbers of one model's server.

    Args:
        predictor: the model.

    Attributes:
        metrics: all of them.
        requests: requests for an inference, by the status of the answer.
        clips: clips that the model has seen.
        inference: seconds that the model took for the clips of a request.
        decoding: seconds that a video took to be decoded.
        waited: seconds that a request has waited for its turn, "model" or "decoder".
        waiting: requests that wait for them at the moment.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.metrics = add = Metrics()
        self.requests = add.add(
            Counter("r2p_requests_total", "Requests for an inference.", ["status"])
        )
        self.clips = add.add(Counter("r2p_clips_total", "Clips that the model has seen."))
        self.inference = add.add(
            Histogram("r2p_inference_seconds", "Time of the model for the clips of a request.")
        )
        self.decoding = add.add(Histogram("r2p_decoding_seconds", "Time to decode a video."))
        self.waited = add.add(
            Histogram("r2p_queue_seconds", "Time that a request has waited.", ["turn"])
        )
        self.waiting = add.add(
            Gauge("r2p_queue_length", "Requests that wait at the moment.", ["turn"])
        )
        labels = ["version", "model", "runtime", "precision"]
        build = add.add(Gauge("r2p_build_info", "The program and its model.", labels))
        names = predictor.spec.name, predictor.runtime, predictor.precision
        build.set(1, __version__, *names)
