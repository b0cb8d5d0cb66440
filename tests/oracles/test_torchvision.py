"""torchvision's own model behind its own preset, against the exported artifact on real clips."""

import contextlib

import numpy as np
import pytest
from networks import torchvision_network
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.compare import compare
from r2p_edge.export.build import build
from r2p_edge.video.sampling import ShorterThanDeclaredError, nearest, plan_clips
from r2p_edge.video.source import open_source
from r2p_edge.video.video_folder import videos_in

pytestmark = [
    needs("torchvision"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::r2p_edge.errors.LowFrameRateWarning"),
]


@pytest.fixture(scope="module")
def network():
    """r2plus1d_18 with random weights and random batch-norm statistics."""
    return torchvision_network()[0]


@pytest.fixture(scope="module")
def artifact(network, tmp_path_factory):
    import torch

    folder = tmp_path_factory.mktemp("torchvision")
    torch.save(network.state_dict(), folder / "tv.pth")
    (built,) = build(
        folder / "tv.pth", targets=["onnx"], out=folder, preset="kinetics400-torchvision"
    ).built
    return built


def test_same_pixels_same_logits(network, artifact):
    import onnxruntime
    import torch

    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 112, 112, 3), np.uint8)
    spec = artifact.spec
    pixels = (clips / 255 - np.array(spec.mean)) / np.array(spec.std)
    with torch.inference_mode():
        inputs = torch.from_numpy(pixels.astype(np.float32).transpose(0, 4, 1, 2, 3))
        expected = network(inputs).numpy()
    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    logits = np.concatenate([session.run(None, {"frames": clip[None]})[0] for clip in clips])
    assert np.abs(logits - expected).max() <= 1e-4 * np.abs(expected).max()


def centre_clip(path, spec):
    """Return the frames, uint8 (16, H, W, 3), that a predictor would look at."""
    with contextlib.closing(open_source(path, spec.clip.fps)) as source:
        for _ in range(2):
            (plan,) = plan_clips(spec.clip, source.times, 1)
            with contextlib.suppress(ShorterThanDeclaredError):
                moments, order = np.unique(plan.times, return_inverse=True)
                frames = list(source.read(moments))
                return np.stack([frames[i] for i in order])
    raise AssertionError(path)


@pytest.mark.long
def test_real_clips_through_torchvisions_preset(network, artifact, data):
    import torch
    from torchvision.transforms._presets import VideoClassification

    preset = VideoClassification(crop_size=(112, 112), resize_size=(128, 171))
    files = sorted(p for p in data.rglob("*") if p.suffix in (".avi", ".mp4", ".mov"))
    assert len(files) == 49
    worst = 0.0
    with Predictor(artifact.path) as predictor, torch.inference_mode():
        for path in files:
            frames = torch.from_numpy(centre_clip(path, artifact.spec)).permute(0, 3, 1, 2)
            expected = network(preset(frames)[None]).softmax(1)[0].numpy()
            prediction = predictor.predict(path)
            top = [prediction.labels[i] for i in np.argsort(-expected)[:5]]
            assert [label for label, _ in prediction.top(5)] == top, path.name
            worst = max(worst, float(np.abs(prediction.scores - expected).max()))
    assert worst <= 0.01
    print(f"largest difference of a probability: {worst:.2e}")


def test_sampling_at_the_rate_of_the_preset(artifact):
    times = np.arange(300) / 30
    (plan,) = plan_clips(artifact.spec.clip, times, 1)
    assert np.diff(nearest(times, plan.times)).tolist() == [2] * 15  # every second frame of 30 fps


@pytest.mark.long
@needs("openvino")
def test_openvino_and_the_other_graph_on_real_clips(artifact, data, tmp_path):
    built = build(artifact.path, targets=["onnx", "openvino"], out=tmp_path, graph="conv2d").built
    built += build(artifact.path, targets=["openvino"], out=tmp_path).built
    built += build(artifact.path, targets=["openvino"], out=tmp_path, precision="fp16").built
    assert [each.path.name for each in built] == [
        "tv-fp32-conv2d.onnx",
        "tv-fp32-conv2d.xml",
        "tv-fp32.xml",
        "tv-fp16.xml",
    ]
    for each in built:
        assert each.spec.parity["top1"] == 1
        assert each.spec.parity["cosine"] >= 0.999
        if each.spec.precision == "fp32":
            assert each.spec.parity["max_rel"] <= 1e-4
    clips = videos_in(data / "ucf101")[::3]
    assert len(clips) == 15
    report = compare(artifact.path, [each.path for each in built], clips)
    for result in report["results"]:
        assert (result["top1"], result["within"], result["differs"]) == (1.0, True, []), result
