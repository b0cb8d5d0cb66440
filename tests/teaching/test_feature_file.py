"""Files of features: what is kept is what comes back, and others are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from r2p_edge.errors import UsageError
from r2p_edge.teaching.feature_file import FeatureSet, load_features, record_of_video

MODEL = {"file": "model.onnx", "sha256": "0" * 64}
VIDEOS = tuple(record_of_video(f"{n}.mp4", "ab"[n % 2], str(n), f"{n:064}") for n in range(4))


@pytest.fixture
def kept(tmp_path):
    features = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)
    found = FeatureSet(("a", "b"), np.array([0, 1, 0, 1], np.intp), features, VIDEOS, MODEL)
    found.save(tmp_path / "kept.npz")
    return found


def test_what_is_kept_comes_back(kept, tmp_path):
    found = load_features(tmp_path / "kept.npz")
    assert (found.labels, found.videos, found.model) == (kept.labels, kept.videos, kept.model)
    assert np.array_equal(found.features, kept.features)
    assert np.array_equal(found.targets, kept.targets)


@pytest.mark.parametrize(
    "changes",
    [
        {"features": np.zeros((4, 0, 5), np.float32)},
        {"features": np.zeros((4, 2, 0), np.float32)},
        {"features": np.zeros((3, 2, 5), np.float32)},
        {"features": np.full((4, 2, 5), np.nan, np.float32)},
        {"labels": ["a", "b", "of no video"]},
        {"labels": ["a", "b", "b"]},
        {"format": 2},
    ],
)
def test_fields_that_do_not_fit_each_other(kept, tmp_path, changes):
    path = tmp_path / "kept.npz"
    record = {"format": 1, "model": MODEL, "labels": ["a", "b"], "videos": VIDEOS}
    features = changes.pop("features", kept.features)
    np.savez(path, features=features, record=np.array(json.dumps({**record, **changes})))
    with pytest.raises(UsageError, match=r"its fields do not fit each other.; give the file that"):
        load_features(path)
