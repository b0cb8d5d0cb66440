"""A small HTTP server for a program on a device: token, TLS, a limit on connections, metrics."""

from r2p_edge.web.access import check_exposure, read_token
from r2p_edge.web.listen import ListenAddress, parse_listen
from r2p_edge.web.metrics import Counter, Gauge, Histogram, Metrics
from r2p_edge.web.request import HttpError, Request, Route
from r2p_edge.web.server import WebServer
from r2p_edge.web.tls import tls_context

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "HttpError",
    "ListenAddress",
    "Metrics",
    "Request",
    "Route",
    "WebServer",
    "check_exposure",
    "parse_listen",
    "read_token",
    "tls_context",
]
