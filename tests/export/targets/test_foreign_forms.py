"""ONNX files of others with every form of input and output, against their own runtime."""

from __future__ import annotations

import numpy as np
import pytest
from requirements import needs

from r2p_edge import Predictor
from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import SpecError, UsageError
from r2p_edge.export.build import build
from r2p_edge.export.verify.synthetic_clips import normalized, verification_clips
from r2p_edge.spec import InputSpec

pytestmark = [needs("torch"), needs("onnx"), needs("onnxruntime")]

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)  # Kinetics
T, H = 8, 56


def to_network(layout):
    """Return the function from a layout to (N, 3, T, H, W), as a module's author writes it."""
    axes = layout.replace("K", "")

    def before(x):
        if "K" in layout:
            x = x.reshape(-1, *x.shape[2:])
        return x.permute(*(axes.index(axis) for axis in "NCTHW"))

    return before


def sizes(layout):
    return tuple({"N": 1, "K": 1, "C": 3, "T": T, "H": H, "W": H}[axis] for axis in layout)


def from_pixels(x):
    """Return pixels (N, 3, T, H, W) normalised, as a network does that takes 0 to 255."""
    import torch

    mean, std = (torch.tensor(each).view(1, 3, 1, 1, 1) for each in (MEAN, STD))
    return (x.float() / 255 - mean) / std


def given(clips, spec, layout, *, pixels=False):
    """Return clips (N, T, H, W, 3) as a file takes them, written out by hand."""
    tensor = clips.transpose(0, 4, 1, 2, 3) if pixels else normalized(clips, spec)
    tensor = tensor.transpose(*("NCTHW".index(axis) for axis in layout.replace("K", "")))
    return tensor[:, None] if "K" in layout else tensor


def close(path, spec, source, tensor, clips, reduced=lambda x: x, output=None, tolerance=1e-4):
    """Assert that an artifact answers pixels as its source answers its own input."""
    from foreign_onnx import run_file

    expected = reduced(run_file(source, tensor, output)[:, 0])
    if spec.input.dtype == "uint8":
        found = run_file(path, clips)[:, 0]
        assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()
    assert open_artifact(path).spec == spec


@pytest.mark.parametrize("dynamo", [False, True], ids=["older", "dynamo"])
@pytest.mark.parametrize("layout", ["NTHWC", "NTCHW", "NKCTHW"])
@pytest.mark.parametrize("pixels", [False, True], ids=["float", "uint8"])
def test_any_layout_of_the_input(tmp_path, layout, pixels, dynamo):
    import torch
    from foreign_onnx import Network, foreign_spec, write_onnx

    from r2p_edge.export import onnx_from_onnx

    order = to_network(layout)
    network = Network(before=(lambda x: from_pixels(order(x))) if pixels else order)
    source = write_onnx(
        tmp_path / "theirs.onnx",
        network,
        sizes(layout),
        torch.uint8 if pixels else torch.float32,
        dynamo=dynamo,
        opset_version=18 if dynamo else 17,
    )
    spec = foreign_spec()
    spec = onnx_from_onnx(source, spec, tmp_path / "model.onnx")
    clips = verification_clips(spec, 2, seed=4)
    tensor = given(clips, spec, layout, pixels=pixels)
    close(tmp_path / "model.onnx", spec, source, tensor, clips)


@pytest.mark.parametrize("input", [InputSpec(layout="NCTHW"), InputSpec("x", "float32", "NCTHW")])
def test_a_uint8_model_under_another_contract(tmp_path, input):
    import torch
    from foreign_onnx import Network, foreign_spec, run_file, write_onnx

    from r2p_edge.export import onnx_from_onnx

    network = Network(before=lambda x: from_pixels(to_network("NTHWC")(x)))
    source = write_onnx(tmp_path / "theirs.onnx", network, sizes("NTHWC"), torch.uint8)
    if input.dtype == "float32":
        with pytest.raises(SpecError, match="takes uint8 but the spec's input is float32"):
            onnx_from_onnx(source, foreign_spec(input=input), tmp_path / "model.onnx")
        return
    spec = onnx_from_onnx(source, foreign_spec(input=input), tmp_path / "model.onnx")
    clips = verification_clips(spec, 1, seed=4)
    found = run_file(tmp_path / "model.onnx", clips.transpose(0, 4, 1, 2, 3))
    np.testing.assert_allclose(found, run_file(source, clips), rtol=1e-5)


@pytest.mark.parametrize(
    ("after", "reduced", "told"),
    [
        (lambda x: x[:, :, None, None, None], lambda x: x[..., 0, 0, 0], False),
        (lambda x: x[:, :, None] * (x[:, None, :2] + 1), lambda x: x.mean(2), True),
        (lambda x: x[:, None] * (x[:, :2, None] + 1), lambda x: x.mean(1), True),
    ],
    ids=["spatial ones", "classes and time", "time and classes"],
)
@pytest.mark.parametrize("opset", [13, 18])
def test_any_shape_of_the_output(tmp_path, after, reduced, told, opset, caplog):
    from foreign_onnx import Network, foreign_spec, write_onnx

    from r2p_edge.export import onnx_from_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(after=after), opset_version=opset)
    spec = onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx")
    clips = verification_clips(spec, 2, seed=4)
    tensor = given(clips, spec, "NCTHW")
    close(tmp_path / "model.onnx", spec, source, tensor, clips, reduced)
    assert ("answers the mean for each class" in caplog.text) is told
    assert ("answers the mean for each class" in str(spec.checks)) is told


def test_an_output_without_a_batch_axis(tmp_path):
    from foreign_onnx import Network, foreign_spec, run_file, write_onnx

    from r2p_edge.export import onnx_from_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(after=lambda x: x.squeeze(0)))
    spec = onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx")
    clips = verification_clips(spec, 2, seed=4)
    expected = run_file(source, normalized(clips, spec))
    found = run_file(tmp_path / "model.onnx", clips)[:, 0]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    with pytest.raises(SpecError, match=r"is \(\?, 5\) but the recipe .* 6 labels; .*--labels"):
        onnx_from_onnx(source, foreign_spec(6), tmp_path / "model.onnx")


def test_one_output_of_several(tmp_path):
    from foreign_onnx import Network, foreign_spec, write_onnx

    from r2p_edge.export import onnx_from_onnx

    network = Network(after=lambda x: (x.exp(), x))
    source = write_onnx(tmp_path / "theirs.onnx", network, output_names=["other", "scores"])
    with pytest.raises(SpecError, match=r"2 outputs \(other \(1, 5\), scores \(1, 5\)\).*--output"):
        onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx")
    with pytest.raises(SpecError, match=r"no output 'none'; it has other"):
        onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx", output="none")
    spec = onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx", output="scores")
    assert spec.source["output"] == "scores"
    clips = verification_clips(spec, 1, seed=4)
    tensor = given(clips, spec, "NCTHW")
    close(tmp_path / "model.onnx", spec, source, tensor, clips, output="scores")


@pytest.mark.parametrize(("dynamo", "opset"), [(False, 11), (False, 20), (True, 18), (True, 23)])
def test_opsets_and_open_batches(tmp_path, dynamo, opset):
    import onnxruntime
    import torch
    from foreign_onnx import Network, foreign_spec, write_onnx

    from r2p_edge.export import onnx_from_onnx

    options = {"dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}
    if dynamo:
        options = {"dynamic_shapes": {"x": {0: torch.export.Dim("batch")}}}
    source = write_onnx(
        tmp_path / "theirs.onnx",
        Network(),
        (2, 3, T, H, H) if dynamo else (1, 3, T, H, H),
        dynamo=dynamo,
        opset_version=opset,
        **options,
    )
    spec = foreign_spec()
    for batch in (None, "dynamic"):
        found = onnx_from_onnx(source, spec, tmp_path / "model.onnx", batch=batch)
        clips = verification_clips(found, 2, seed=4)
        tensor = given(clips, found, "NCTHW")
        close(tmp_path / "model.onnx", found, source, tensor, clips)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    assert session.get_inputs()[0].shape[0] == "N"
    both = session.run(None, {"frames": clips})[0]
    assert both.shape == (2, 5)
    with Predictor(tmp_path / "model.onnx") as predictor:
        assert predictor.scores(clips).shape == (2, 5)


@pytest.mark.parametrize("whole", [True, False], ids=["fp16 ends", "fp32 ends"])
def test_half_precision(tmp_path, whole):
    import onnx
    from foreign_onnx import Network, foreign_spec, write_onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    from r2p_edge.export import onnx_from_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network())
    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=not whole), source)
    spec = onnx_from_onnx(source, foreign_spec(), tmp_path / "model.onnx")
    assert spec.precision == "fp16"
    clips = verification_clips(spec, 2, seed=4)
    tensor = given(clips, spec, "NCTHW")
    close(
        tmp_path / "model.onnx",
        spec,
        source,
        tensor.astype(np.float16) if whole else tensor,
        clips,
        lambda x: x.astype(np.float32),
        # An output of float16 may fall on the next number, 1e-3 of it away.
        tolerance=2e-3 if whole else 1e-4,
    )


def test_any_name_and_weights_in_another_file(tmp_path):
    import onnx
    from foreign_onnx import Network, foreign_spec, write_onnx

    write_onnx(tmp_path / "whole.onnx", Network())
    source = tmp_path / "theirs.pb"
    onnx.save(
        onnx.load(tmp_path / "whole.onnx"),
        source,
        save_as_external_data=True,
        location="theirs.data",
        size_threshold=0,
    )
    (built,) = build(source, spec=foreign_spec(), targets=["onnx"], out=tmp_path / "out").built
    clips = verification_clips(built.spec, 1, seed=4)
    close(built.path, built.spec, source, given(clips, built.spec, "NCTHW"), clips)


def test_only_some_targets_have_an_open_batch(tmp_path, small_checkpoint):
    from networks import spec_for

    options = {"spec": spec_for(7), "batch": "dynamic", "out": tmp_path / "out"}
    with pytest.raises(UsageError, match=r"tensorrt needs a fixed batch; .* onnx, openvino alone"):
        build(small_checkpoint, targets=["onnx", "tensorrt"], **options)
    with pytest.raises(UsageError, match="needs a fixed batch"):
        build(small_checkpoint, targets=["onnx"], graph="conv2d", **options)
    (built,) = build(small_checkpoint, targets=["onnx"], **options).built
    with Predictor(built.path) as predictor:
        assert predictor.scores(verification_clips(built.spec, 3)).shape == (3, 7)


def inside(scale):
    """Return the normalisation of a network that takes pixels from 0 to 1, or 0 to 255."""
    return lambda x: from_pixels(x * 255 / scale)


@pytest.mark.parametrize(("pixels", "scale"), [("unit", 1), ("raw", 255)])
def test_a_network_that_normalises_by_itself(tmp_path, pixels, scale):
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    source = write_onnx(tmp_path / "theirs.onnx", Network(before=inside(scale)))
    # Its own numbers are those of the preset, which leaves no doubt.
    built = export_foreign(source, tmp_path, classes=5)
    assert f"--pixels {pixels}" in built.spec.checks["warnings"][0]
    clips = verification_clips(built.spec, 2, seed=4)
    tensor = (clips / (255 / scale)).astype(np.float32).transpose(0, 4, 1, 2, 3)
    expected = run_file(source, tensor)[:, 0]
    found = run_file(built.path, clips)[:, 0]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    # Under another preset it is asked for.
    other = {"classes": 5, "preset": "kinetics400-gluoncv"}
    with pytest.raises(UsageError, match=r"as if it normalised by itself.* --pixels unit"):
        export_foreign(source, tmp_path, **other)
    asked = export_foreign(source, tmp_path, **other, pixels=pixels)
    np.testing.assert_array_equal(run_file(asked.path, clips)[:, 0], found)
    both = export_foreign(source, tmp_path, **other, pixels="normalized")
    expected = run_file(source, normalized(clips, both.spec))[:, 0]
    found = run_file(both.path, clips)[:, 0]
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("openvino", {}),
        ("openvino", {"batch": "dynamic"}),
        ("openvino-npu", {}),
        ("onnx", {"graph": "conv2d"}),
        pytest.param("mindspore", {}, marks=needs("mindspore")),
    ],
    ids=["openvino", "openvino dynamic", "openvino-npu", "conv2d", "mindspore"],
)
def test_other_targets(tmp_path, target, options):
    import torch
    from foreign_onnx import Network, export_foreign, run_file, write_onnx

    order = to_network("NKCTHW")
    source = write_onnx(
        tmp_path / "theirs.onnx",
        Network(before=lambda x: from_pixels(order(x)), after=torch.sigmoid),
        sizes("NKCTHW"),
        torch.uint8,
        **({"dynamic_axes": {"x": {0: "N"}}, "input_names": ["x"]} if options.get("batch") else {}),
    )
    built = export_foreign(source, tmp_path, classes=5, targets=[target], **options)
    assert built.spec.output.kind == "sigmoid"
    clips = verification_clips(built.spec, 2, seed=4)
    expected = run_file(source, given(clips, built.spec, "NKCTHW", pixels=True))[:, 0]
    limit = 1e-2 if built.spec.precision == "fp16" else 1e-4
    with Predictor(built.path) as predictor:
        np.testing.assert_allclose(predictor.scores(clips), expected, atol=limit)
