"""Repositories of other servers from a model: Triton, OpenVINO Model Server, DeepStream."""

from r2p_edge.serve_export.repository import Repository, write_repository
from r2p_edge.serve_export.servers import SERVERS

__all__ = ["SERVERS", "Repository", "write_repository"]
