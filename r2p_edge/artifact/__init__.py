"""Model files: the contract that one carries, its sidecar, and folders of them."""

from r2p_edge.artifact.open import (
    METADATA_KEY,
    Artifact,
    embedded_spec,
    files_of,
    open_artifact,
    sha256_of_file,
    sidecar_path,
)

__all__ = [
    "METADATA_KEY",
    "Artifact",
    "embedded_spec",
    "files_of",
    "open_artifact",
    "sha256_of_file",
    "sidecar_path",
]
