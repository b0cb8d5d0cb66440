"""The bundled model with further outputs."""

from __future__ import annotations

import pytest

from r2p_edge.artifact.open import open_artifact


@pytest.fixture(scope="session")
def further_model(motion_model, tmp_path_factory):
    """The bundled model with further outputs, as an ONNX artifact."""
    from r2p_edge.export.targets.onnx import write_with_features

    path = tmp_path_factory.mktemp("further") / "motion.onnx"
    write_with_features(motion_model, open_artifact(motion_model).spec, path)
    return path
