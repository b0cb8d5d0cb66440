"""DeepMind's own I3D, on its sample, against the answers that it published.

The weights are no part of this repository: in the folder that `R2P_WEIGHTS` names there has to be a
clone of google-deepmind/kinetics-i3d, which has both checkpoints and the sample.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from flows import PIXELS
from networks import FLOAT, spec_for
from requirements import needs

from r2p_edge.export.checkpoints.dialects import canonical_parameters
from r2p_edge.export.checkpoints.read import read_checkpoint
from r2p_edge.export.labels import LISTS, read_labels
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.spec import FlowSpec

pytestmark = [needs("onnx"), needs("onnxruntime"), pytest.mark.slow, pytest.mark.long]

# out/imagenet_rgb.txt and out/imagenet_flow.txt: the norm of the logits, and the first of them.
PUBLISHED = {
    "rgb": (
        87.108871,
        {
            "playing cricket": 25.856646,
            "playing kickball": 12.330335,
            "catching or throwing baseball": 11.254371,
            "shooting goal (soccer)": 10.883866,
            "catching or throwing softball": 10.393131,
        },
    ),
    "flow": (
        63.252754,
        {
            "playing cricket": 15.957031,
            "hurling (sport)": 12.808723,
            "playing tennis": 10.527044,
            "playing squash or racquetball": 10.0088,
            "hitting baseball": 9.425033,
        },
    ),
}
JOINT = (138.468643, {"playing cricket": 41.8137, "hurling (sport)": 21.494})
"""The same of both, whose logits are added (README.md)."""


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("R2P_WEIGHTS", "")) / "kinetics-i3d" / "data"
    if not (folder / "checkpoints" / "rgb_imagenet" / "model.ckpt.index").is_file():
        pytest.skip("needs a clone of google-deepmind/kinetics-i3d in the folder $R2P_WEIGHTS")
    return folder


def logits_of(data: Path, stream: str) -> np.ndarray:
    """Return the logits, (400,), for the sample."""
    from r2p_edge.export.graph.r2plus1d import onnx_from_parameters

    read = read_checkpoint(data / "checkpoints" / f"{stream}_imagenet" / "model.ckpt.index")
    named = canonical_parameters(read.parameters)
    clip = np.load(data / f"v_CricketShot_g04_c01_{stream}.npy").transpose(0, 4, 1, 2, 3)
    spec = spec_for(400, frames=79, size=224, input=FLOAT)
    if stream == "flow":
        spec = spec.replace(
            mean=(0.0, 0.0), std=(1.0, 1.0), input=PIXELS, flow=FlowSpec("farneback")
        )
    model = onnx_from_parameters(named.parameters, named.network(), spec)
    session = open_session(model.SerializeToString())
    found = run_session(session, np.ascontiguousarray(clip, np.float32))
    return np.asarray(found[0])


def check(logits: np.ndarray, norm: float, best: dict[str, float]) -> None:
    labels = read_labels(LISTS / "kinetics400.txt")
    order = np.argsort(-logits)[: len(best)]
    assert [labels[place] for place in order] == list(best)
    np.testing.assert_allclose(logits[order], list(best.values()), rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(logits), norm, rtol=1e-4)


@pytest.mark.parametrize("stream", PUBLISHED)
def test_a_stream_answers_as_published(data: Path, stream: str) -> None:
    check(logits_of(data, stream), *PUBLISHED[stream])


def test_both_together_answer_as_published(data: Path) -> None:
    check(logits_of(data, "rgb") + logits_of(data, "flow"), *JOINT)
