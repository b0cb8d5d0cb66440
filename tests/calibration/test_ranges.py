"""Ranges of activations are those of ONNX Runtime's calibrators, in memory that does not grow."""

import itertools
import math
import subprocess
import sys

import numpy as np
import onnx
import pytest
from quantisation import CLIPS, SPEC, named, small_artifact
from requirements import needs

from r2p_edge.calibration.histograms import BINS, entropy_range, percentile_range
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.ranges import PASSES, observe
from r2p_edge.errors import ModelError, OutputError, VideoError

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_artifact(tmp_path_factory.mktemp("float"))


@pytest.fixture(scope="module")
def model(path):
    return named(path)


@pytest.fixture(scope="module")
def tensors(model):
    return place(model, stem=True, both_summands=True).tensors


@pytest.fixture(scope="module")
def calibrated(path, tmp_path_factory):
    """Ranges of ONNX Runtime's own calibrators, by tensor."""

    def calibrated(method, **options):
        from onnxruntime.quantization.calibrate import (
            CalibrationDataReader,
            CalibrationMethod,
            create_calibrator,
        )

        class Reader(CalibrationDataReader):
            def __init__(self):
                self._clips = iter(CLIPS)

            def get_next(self):
                clip = next(self._clips, None)
                return None if clip is None else {"frames": clip[None]}

        calibrator = create_calibrator(
            str(path),
            ["Conv", "Add"],
            str(tmp_path_factory.mktemp("augmented") / "model.onnx"),
            CalibrationMethod[method],
            extra_options=options,
        )
        calibrator.collect_data(Reader())
        found = calibrator.compute_data()
        return {name: np.ravel(found[name].range_value) for name in found}

    return calibrated


def test_minmax_is_what_onnx_runtime_finds(model, tensors, calibrated):
    expected = calibrated("MinMax")
    found = observe(model, SPEC, tensors, lambda: CLIPS)
    assert found.clips == len(CLIPS)
    assert list(found.ranges) == list(tensors)
    for name in tensors:
        np.testing.assert_allclose(found.ranges[name], expected[name], rtol=1e-5, atol=1e-6)


def test_percentile_is_what_onnx_runtime_finds(model, tensors, calibrated, monkeypatch):
    monkeypatch.setattr("r2p_edge.calibration.histograms.PERCENTILE", 99.0)
    expected = calibrated("Percentile", num_bins=BINS, percentile=99.0, symmetric=False)
    found = observe(model, SPEC, tensors, lambda: CLIPS, method="percentile").ranges
    extremes = observe(model, SPEC, tensors, lambda: CLIPS).ranges
    narrower = 0
    for name in tensors:
        step = 2 * np.abs(extremes[name]).max() / BINS
        np.testing.assert_allclose(found[name], expected[name], atol=1.01 * step)
        narrower += found[name][1] < extremes[name][1] - 10 * step
    assert narrower > len(tensors) / 2


def divergence_of_steps(magnitudes, width, levels):
    """Of the first `width` bins, the others clipped into the last, from their `levels` steps."""
    inside = list(magnitudes[:width])
    p = [*inside[:-1], sum(magnitudes[width - 1 :])]
    q = [0.0] * width
    edges = [step * width // levels for step in range(levels + 1)]
    for start, end in itertools.pairwise(edges):
        filled = [i for i in range(start, end) if p[i]]
        for i in filled:
            q[i] = sum(inside[start:end]) / len(filled)
    p, q = ([max(count, 1e-4) for count in counts] for counts in (p, q))
    shares = [(a / sum(p), b / sum(q)) for a, b in zip(p, q)]
    return sum(a * math.log(a / b) for a, b in shares)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_entropy_takes_the_least_divergence(power, rectified):
    values = np.random.default_rng(0).normal(size=20_000)
    values = np.sign(values) * np.abs(values) ** power
    if rectified:
        values = np.maximum(values, 0)
    bound = np.abs(values).max()
    histogram = np.histogram(values, 128, range=(-bound, bound))[0]
    # A zero belongs to neither side; numpy counts it on the right one.
    magnitudes = [int(a + b) for a, b in zip(histogram[64:], histogram[:64][::-1])]
    magnitudes[0] = magnitudes[1]
    widths = range(16, 65)
    best = min(widths, key=lambda width: divergence_of_steps(magnitudes, width, 16))
    low, high = entropy_range(histogram, bound, levels=16)
    assert -low == high == pytest.approx(bound * best / 64)


def test_entropy_is_not_misled_by_a_rectifier():
    """Zeros are zeros in any steps: a thousand times as many leave the range as it is."""
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    found = []
    for zeros in (0, 1000 * len(values)):
        histogram = np.histogram(values, BINS, range=(-5, 5))[0]
        histogram[BINS // 2] += zeros
        found.append(entropy_range(histogram, 5.0))
    assert found[0] == found[1]
    assert 3.0 < found[0][1] < values.max()


@pytest.mark.parametrize("percentile", [90.0, 99.0])
def test_percentile_of_counted_values(percentile, monkeypatch):
    monkeypatch.setattr("r2p_edge.calibration.histograms.PERCENTILE", percentile)
    values = np.random.default_rng(1).gamma(2.0, size=100_000)
    bound = values.max()
    histogram = np.histogram(values, BINS, range=(-bound, bound))[0]
    outside = (100 - percentile) / 2
    expected = np.percentile(values, [outside, 100 - outside])
    found = percentile_range(histogram, bound)
    np.testing.assert_allclose(found, expected, atol=2 * bound / BINS)


@pytest.mark.parametrize("method", PASSES)
def test_ranges_are_within_the_extremes_and_progress_counts_every_pass(model, tensors, method):
    ticks = []
    found = observe(
        model, SPEC, tensors, lambda: CLIPS, method=method, progress=lambda: ticks.append(1)
    )
    extremes = observe(model, SPEC, tensors, lambda: CLIPS).ranges
    for name, (low, high) in found.ranges.items():
        assert extremes[name][0] <= low < high <= extremes[name][1]
    assert len(ticks) == PASSES[method] * len(CLIPS)
    assert found == observe(model, SPEC, tensors, lambda: iter(CLIPS), method=method)


def test_the_batch_of_the_artifact_does_not_matter(model, tensors, tmp_path):
    """Five clips in batches of two: the last one is filled up."""
    batched = named(small_artifact(tmp_path, batch=2))
    one = observe(model, SPEC, tensors, lambda: CLIPS[:5])
    two = observe(batched, SPEC, tensors, lambda: CLIPS[:5])
    assert one.clips == two.clips == 5
    for name in tensors:
        np.testing.assert_allclose(two.ranges[name], one.ranges[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layer", ["layer2.0.conv1.conv1", "fc"])
def test_nan_and_infinity_are_refused(model, tensors, value, layer):
    broken = onnx.ModelProto()
    broken.CopyFrom(model)
    (weight,) = (each for each in broken.graph.initializer if each.name == f"{layer}.weight")
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[0] = value
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    with pytest.raises(ModelError, match=r"NaN or infinity \(.*, clip 1\)"):
        observe(broken, SPEC, tensors, lambda: CLIPS)


def test_no_clips_are_refused(model, tensors):
    with pytest.raises(VideoError, match="no clips to calibrate on"):
        observe(model, SPEC, tensors, list)


@pytest.mark.parametrize(
    ("clip", "what"),
    [
        (CLIPS[0][:, :16], "clip 2 is uint8 (8, 16, 32, 3)"),
        (CLIPS[0].astype(np.float32), "clip 2 is float32 (8, 32, 32, 3)"),
        ("clip.avi", "clip 2 is str of no shape"),
    ],
)
def test_another_clip_than_the_model_is_shown_is_refused(model, tensors, clip, what):
    with pytest.raises(VideoError) as caught:
        observe(model, SPEC, tensors, lambda: [CLIPS[0], clip])
    assert what in str(caught.value)


def peak(script, *arguments):
    """The most memory that a Python of its own has had; the script prints it."""
    command = [sys.executable, "-c", script, sys.path[0], *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


PEAK = """
import resource, sys
import onnx
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from quantisation import CLIPS, SPEC, named
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.ranges import observe
model = named(Path(sys.argv[2]))
tensors = place(model, stem=True, both_summands=True).tensors
clips = lambda: (CLIPS[i % len(CLIPS)] for i in range(int(sys.argv[4])))
observe(model, SPEC, tensors, clips, method=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_memory_does_not_grow_with_the_clips(path, method):
    """Keeping the activations of 150 more clips would take 150 MB; entropy counts as percentile."""

    assert peak(PEAK, path, method, 200) <= 1.05 * peak(PEAK, path, method, 50)


DEEP_PEAK = """
import resource, sys
from onnx import TensorProto, helper
sys.path.insert(0, sys.argv[1])
from quantisation import CLIPS, SPEC
from r2p_edge.calibration.ranges import observe
depth, copies = int(sys.argv[2]), 160
names = [f"x{i}" for i in range(depth + 1)]
nodes = [
    helper.make_node("Cast", ["frames"], ["clip"], to=TensorProto.FLOAT),
    helper.make_node("Concat", ["clip"] * copies, ["x0"], axis=0),
    *(helper.make_node("Neg", [x], [y]) for x, y in zip(names, names[1:])),
    helper.make_node("ReduceMean", [names[-1]], ["logits"], keepdims=0),
]
frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, [1, *CLIPS[0].shape])
logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [])
graph = helper.make_graph(nodes, "deep", [frames], [logits])
opsets = [helper.make_opsetid("", 17)]
observe(
    helper.make_model(graph, opset_imports=opsets, ir_version=8), SPEC, names, lambda: CLIPS[:1]
)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_memory_does_not_grow_with_the_layers():
    """Each of the 40 activations more has 16 MB, and none is held once its extremes are known."""

    assert peak(DEEP_PEAK, 50) <= 1.05 * peak(DEEP_PEAK, 10)


def test_a_temporary_folder_that_cannot_be_used_is_named(model, tensors, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"temporary folder.*gone.*TMPDIR"):
        observe(model, SPEC, tensors, lambda: CLIPS)
