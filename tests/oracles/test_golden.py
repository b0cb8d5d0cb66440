"""Golden pairs of torchvision on real clips, and the page's lines for each framework."""

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from networks import random_parameters, torch_network, torchvision_network
from pages import COMMANDS
from requirements import needs

from r2p_edge.errors import ParityError
from r2p_edge.export.build import build
from r2p_edge.export.presets import preset
from r2p_edge.export.verify.golden import read_golden
from r2p_edge.video.source import open_source

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("torch")]

CLASSES = preset("kinetics400-torchvision").labels


def block(heading):
    """Return the lines of the page under a heading."""
    (found,) = [each for each in COMMANDS if each.heading == heading]
    return found.code


def written(folder, monkeypatch, heading, **names):
    """Run the page's lines in a folder, with these names; return the pair that they write."""
    monkeypatch.chdir(folder)
    exec(block(heading), names)
    return read_golden(folder / "golden.npz")


def real_frames(path, count):
    """Return the first frames of a video, uint8 (T, H, W, 3) in RGB."""
    with contextlib.closing(open_source(path, 25.0)) as source:
        return np.stack(list(source.read(source.times[:count])))


@pytest.mark.long
@needs("torchvision")
def test_torchvision_by_its_own_transform(data, tmp_path, monkeypatch):
    import torch

    network = torchvision_network()[0]
    from torchvision.transforms._presets import VideoClassification

    torch.save(network.state_dict(), tmp_path / "tv.pth")
    frames = real_frames(sorted((data / "ucf101").rglob("*.avi"))[0], 16)
    transform = VideoClassification(crop_size=(112, 112), resize_size=(128, 171))
    clip = transform(torch.from_numpy(frames).permute(0, 3, 1, 2))[None]
    names = {"network": network, "clip": clip, "frames": frames, "classes": CLASSES}
    pair = written(tmp_path, monkeypatch, "A golden pair of PyTorch", **names)

    def export(name):
        return build(
            tmp_path / "tv.pth",
            targets=["onnx"],
            out=tmp_path / "out",
            preset=name,
            golden=pair.path,
        )

    found = export("kinetics400-torchvision").built[0].spec.checks["golden"]
    assert found["weights"]["max_rel"] < 1e-5
    assert found["preprocessing"]["levels"] < 1
    assert found["normalisation"]["levels"] < 1
    assert found["labels"]["outputs"] == [CLASSES.index(pair.names[0])]
    with pytest.raises(
        ParityError, match=r"was normalised otherwise.*mean \(0.432, 0.394, 0.376\)"
    ):
        export("kinetics400-gluoncv")


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"  # of the exporter by tracing
)
def test_the_lines_for_onnx_runtime(tmp_path, monkeypatch):
    import torch

    network = torch_network(random_parameters((1, 1, 1, 1), (4, 6, 8, 12), 400), (1, 1, 1, 1))
    clip = np.random.default_rng(0).standard_normal((1, 3, 4, 32, 32)).astype(np.float32)
    torch.onnx.export(network, torch.from_numpy(clip), tmp_path / "mine.onnx", dynamo=False)
    frames = np.zeros((4, 48, 91, 3), np.uint8)
    names = {"clip": clip, "frames": frames, "classes": CLASSES}
    pair = written(tmp_path, monkeypatch, "A golden pair of ONNX Runtime", **names)
    with torch.no_grad():
        expected = network(torch.from_numpy(clip)).numpy()
    np.testing.assert_allclose(pair.logits, expected, atol=1e-4 * np.abs(expected).max())


MINDSPORE = """
import numpy as np
from mindspore import Tensor, nn
from r2p_edge.export.presets import preset

network = nn.SequentialCell(nn.Flatten(), nn.Dense(3 * 4 * 8 * 8, 400))
classes = preset("kinetics400-torchvision").labels
clip = np.random.default_rng(0).standard_normal((1, 3, 4, 8, 8)).astype(np.float32)
frames = np.zeros((4, 48, 91, 3), np.uint8)
{block}
np.save("expected.npy", network(Tensor(clip)).asnumpy())
"""


@pytest.mark.slow
@needs("mindspore")
def test_the_lines_for_mindspore(tmp_path):
    program = MINDSPORE.format(block=block("A golden pair of MindSpore"))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    pair = read_golden(tmp_path / "golden.npz")
    np.testing.assert_array_equal(pair.logits, np.load(tmp_path / "expected.npy"))
    assert pair.names == [CLASSES[int(pair.logits.argmax())]]
