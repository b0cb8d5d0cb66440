"""Files that make up a model, and their digests."""

import hashlib

import pytest
from models import brightness_model

from r2p_edge.artifact.files import sha256_of_file, sha256_of_model
from r2p_edge.errors import ModelNotFoundError


def test_the_digest_of_a_model_is_that_of_all_its_bytes(tmp_path):
    model = brightness_model(tmp_path / "model.onnx")
    assert sha256_of_model(model) == sha256_of_file(model)
    (tmp_path / "net.xml").write_bytes(b"<net/>")
    (tmp_path / "net.bin").write_bytes(b"weights")
    expected = hashlib.sha256(b"<net/>weights").hexdigest()
    assert sha256_of_model(tmp_path / "net.xml") == expected
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        sha256_of_model(tmp_path / "absent.onnx")
