"""Ranges of activations are those of ONNX Runtime's calibrators, in memory that does not grow."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from paths import HELPERS
from quantisation import CLIPS, SPEC, named, small_artifact
from requirements import needs

from r2p_edge.calibration.histograms import BINS
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.ranges import PASSES, observe
from r2p_edge.errors import ModelError, OutputError, VideoError

pytestmark = [needs("onnx"), needs("onnxruntime"), needs("safetensors")]


@pytest.fixture(scope="module")
def model(float_model):
    return named(float_model)


@pytest.fixture(scope="module")
def tensors(model):
    return place(model, stem=True, both_summands=True).tensors


@pytest.fixture(scope="module")
def calibrated(float_model, tmp_path_factory):
    """A function that returns the ranges of ONNX Runtime's own calibrators, by tensor."""

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
            str(float_model),
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


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=pytest.mark.slow if name == "entropy" else ()) for name in PASSES],
)
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
    """Run a script that prints its peak memory, in a Python of its own."""
    command = [sys.executable, "-c", script, HELPERS, *map(str, arguments)]
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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
@pytest.mark.parametrize("method", ["minmax", "percentile"])
def test_memory_does_not_grow_with_the_clips(float_model, method):
    """Keeping the activations of 150 more clips would take 150 MB; entropy counts as percentile."""

    assert peak(PEAK, float_model, method, 200) <= 1.05 * peak(PEAK, float_model, method, 50)


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


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage")
def test_memory_does_not_grow_with_the_layers():
    """Each of 40 more activations has 16 MB, and is freed once its extremes are known."""

    assert peak(DEEP_PEAK, 50) <= 1.05 * peak(DEEP_PEAK, 10)


def test_a_temporary_folder_that_cannot_be_used_is_named(model, tensors, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutputError, match=r"temporary files.*gone.*TMPDIR"):
        observe(model, SPEC, tensors, lambda: CLIPS)
