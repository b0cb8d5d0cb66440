"""Reports: one HTML page about the answers of models, made from their tables of results."""

from r2p_edge.calibration.report.make import make_report

__all__ = ["make_report"]
