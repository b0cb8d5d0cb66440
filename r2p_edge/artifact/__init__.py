"""Model files: their contract, their sidecars, and manifests of folders of them."""

from r2p_edge.artifact.files import files_of, sha256_of_file
from r2p_edge.artifact.onnx_metadata import METADATA_KEY, onnx_metadata
from r2p_edge.artifact.open import Artifact, embedded_spec, open_artifact, template
from r2p_edge.artifact.sidecar import sidecar_path

__all__ = [
    "METADATA_KEY",
    "Artifact",
    "embedded_spec",
    "files_of",
    "onnx_metadata",
    "open_artifact",
    "sha256_of_file",
    "sidecar_path",
    "template",
]
