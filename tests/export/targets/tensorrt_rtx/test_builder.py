"""Models for TensorRT 11 and TensorRT for RTX, given to NVIDIA's own parser and builder.

They are those of TensorRT for RTX, which is of TensorRT 11's generation, and need no GPU. A build
for several chips is refused if one of them refuses it, so the quick tests build for all at once.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import tensorrt_wheels as wheels
from exit_codes import BACKEND
from networks import FLOAT, random_parameters, small_network, spec_for
from quantisation import SPEC, named
from requirements import needs, require
from rtx_builder import CHIPS, build
from rtx_layers import LAYERS

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.placement import place
from r2p_edge.calibration.qdq import PROFILES, qdq_from_float
from r2p_edge.cli import main
from r2p_edge.errors import BackendError
from r2p_edge.export import check_ops, onnx_from_checkpoint, onnx_from_onnx, onnx_from_torch
from r2p_edge.export.graph.conv2d.rewrite import conv2d_from_conv3d
from r2p_edge.export.graph.float16 import half_from_float
from r2p_edge.export.graph.per_frame.forms import per_frame_form
from r2p_edge.export.graph.per_frame.tail import one_camera
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes.tensorrt.plan_header import RTX_CHIPS, read_plan

pytestmark = [needs("tensorrt_rtx"), needs("onnxruntime"), needs("safetensors")]

GRAPHS = ("conv3d", "conv2d")
PRECISIONS = ("fp32", "fp16", "int8")
LATER = CHIPS[1:]  # those that are not Turing

SCALES = {"Converting conv activation scales to fp32.", "Converting conv weight scales to fp32."}
"""Endings of the builder's warnings of int8 whose scales are float16."""


def int8(path: Path) -> onnx.ModelProto:
    """Return the Q/DQ form for TensorRT with ranges that fit nothing in particular."""
    model, form = named(path), PROFILES["tensorrt"]
    placement = place(model, stem=form.stem, both_summands=form.both_summands)
    ranges = dict.fromkeys(placement.tensors, (-2.5, 2.5))
    return qdq_from_float(model, placement, ranges, form)


def typed(path: Path, precision: str) -> onnx.ModelProto:
    """Return what the target hands to the builder for an fp32 artifact."""
    if precision == "fp32":
        return onnx.load(path)
    model = onnx.load(path) if precision == "fp16" else int8(path)
    return half_from_float(model, float32_scales=True)


def endings(warnings) -> dict[str, int]:
    """Return warnings without the names of layers before them."""
    found: dict[str, int] = {}
    for text, count in warnings.items():
        ending = text.partition(") ")[2] or text
        found[ending] = found.get(ending, 0) + count
    return found


def artifact(parameters, spec, path: Path, graph: str) -> Path:
    """Write an fp32 artifact."""
    from safetensors.numpy import save_file

    weights = path.with_suffix(".safetensors")
    save_file(parameters, weights)
    onnx_from_checkpoint(weights, spec, path, graph=graph)
    return path


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A function that returns the small network's fp32 artifact in a form."""
    folder = tmp_path_factory.mktemp("small")
    # Of fewer channels NVIDIA's int8 convolutions are others.
    parameters = random_parameters((1, 1, 1, 1), (16, 16, 16, 16), 7)
    return functools.cache(
        lambda graph: artifact(parameters, SPEC, folder / f"{graph}.onnx", graph)
    )


@pytest.fixture(scope="session")
def chips_of_plan(tmp_path_factory):
    """A function that returns the chips that a plan's header names."""
    path = tmp_path_factory.mktemp("plan") / "net.engine"

    def chips_of_plan(plan):
        path.write_bytes(plan)
        found = read_plan(path)
        assert found.library == "tensorrt_rtx"
        assert ".".join(map(str, found.version)) == _version()
        return [name for name, capability in RTX_CHIPS.items() if capability in found.chips]

    return chips_of_plan


def _version():
    import tensorrt_rtx

    return tensorrt_rtx.__version__


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_form_builds_for_every_chip_that_our_table_allows(
    small, chips_of_plan, graph, precision
):
    model = typed(small(graph), precision)
    chips = LATER if precision == "fp32" else CHIPS
    done = build(model, chips)
    assert (done.errors, done.warnings) == ("", {})
    assert chips_of_plan(done.plan) == list(chips)
    plain = onnx.load(small(graph))
    assert not check_ops(plain, "tensorrt-rtx", precision=precision)
    refused = check_ops(plain, "tensorrt-rtx-sm75", precision=precision)
    assert bool(refused) == (precision == "fp32")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_parts_of_a_per_frame_form_build(small, precision):
    """The state of an int8 model is int8, in and out."""
    path = small("conv3d")
    source = int8(path) if precision == "int8" else onnx.load(path)
    form = per_frame_form(source, open_artifact(path).spec, 1)
    kinds = {ring.dtype for ring in form.rings}
    assert kinds == ({"int8"} if precision == "int8" else {"float32"})
    for part in form.parts.values():
        model = one_camera(part)
        if precision != "fp32":
            model = half_from_float(model, float32_scales=True)
        done = build(model, LATER)
        assert (done.errors, done.warnings) == ("", {})
        assert done.plan is not None


@pytest.mark.parametrize("graph", GRAPHS)
def test_turing_has_no_fp32(small, graph):
    done = build(onnx.load(small(graph)), ["sm75"])
    assert done.plan is None
    assert "for Turing (SM75): FP32 " in done.errors
    assert "is not supported" in done.errors
    for chips in (["sm75", "sm86"], CHIPS):
        assert build(onnx.load(small(graph)), chips).plan is None


@pytest.mark.parametrize("graph", GRAPHS)
def test_what_tensorrt_11_is_given_builds_with_warnings_of_its_scales_alone(small, graph):
    """Its float16 scales are turned into float32, which loses nothing; Turing needs no scales."""
    model = int8(small(graph))
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    done = build(half_from_float(model))
    assert done.errors == ""
    counts = endings(done.warnings)
    assert counts.keys() == SCALES
    assert all(0 < count <= convolutions for count in counts.values())
    assert build(half_from_float(model), ["sm75"]).warnings == {}
    # The untyped form is that of TensorRT up to 10.
    assert build(model).warnings == {}
    assert build(model, ["sm75"]).plan is None


# Our table of operators.


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("chip", ["sm75", "sm86"])
def test_our_table_refuses_what_the_builder_refuses(name, chip):
    target = "tensorrt-rtx-sm75" if chip == "sm75" else "tensorrt-rtx"
    refused = bool(check_ops(LAYERS[name], target, precision="fp32"))
    assert refused == (build(LAYERS[name], [chip]).plan is None)


# The target.


def test_an_export_without_a_card(tmp_path, small, capsys, monkeypatch):
    """From a model to the plan, which then says in one sentence that there is no card."""
    monkeypatch.setenv("R2P_CUDART", "/absent/libcudart.so")
    arguments = ["export", str(small("conv3d")), "--to", "tensorrt-rtx", "--out", str(tmp_path)]
    assert main([*arguments, "--precision", "fp16", "--chip", "sm75,sm89"]) == 0
    path = tmp_path / "test-fp16-rtx-sm75-sm89.engine"
    found = open_artifact(path)
    assert found.spec.target["chips"] == ["sm75", "sm89"]
    assert found.spec.parity is None
    assert read_plan(path).chips == ("7.5", "8.9")
    capsys.readouterr()
    assert main(["predict", str(path), "video.mp4"]) == BACKEND
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("r2p-edge: error: ")
    with pytest.raises(BackendError):
        Predictor(path, spec=SPEC)


def test_fp32_for_turing(tmp_path, small):
    """Without 3-D convolutions, and with a convolution in place of the dense layer."""
    arguments = [str(small("conv2d")), "--to", "tensorrt-rtx", "--chip", "sm75"]
    assert main(["export", *arguments, "--out", str(tmp_path)]) == 0
    assert read_plan(tmp_path / "test-fp32-conv2d-rtx-sm75.engine").chips == ("7.5",)


def test_by_default_it_is_for_all_but_turing(tmp_path, small):
    assert (
        main(["export", str(small("conv3d")), "--to", "tensorrt-rtx", "--out", str(tmp_path)]) == 0
    )
    assert read_plan(tmp_path / "test-fp32-rtx.engine").chips == tuple(RTX_CHIPS.values())[1:]


def test_both_libraries_in_one_process(tmp_path, small):
    """TensorRT 11's real Python module, and this one, which builds all the same."""
    if not wheels.package("11.4").is_dir():
        require("tensorrt_bindings")
        pytest.skip(f"needs TensorRT 11.4's Python module; set {wheels.VARIABLE}")
    code = (
        "import sys, tensorrt\n"
        "from pathlib import Path\n"
        "from r2p_edge.runtimes.tensorrt.build import BuildOptions, plan_from_onnx\n"
        "from r2p_edge.runtimes.tensorrt.library import import_rtx, import_tensorrt, logger_of\n"
        "loggers = [logger_of(one()) for one in (import_tensorrt, import_rtx)]\n"
        "assert loggers[0] is not loggers[1]\n"
        "wanted = BuildOptions('net', 'fp32', number=None, chips=('8.6',))\n"
        "plan = plan_from_onnx(Path(sys.argv[1]), wanted, import_rtx())\n"
        "print(tensorrt.__version__, plan[:4])\n"
    )
    environment = wheels.environment("11.4", tmp_path)
    command = [sys.executable, "-c", code, str(small("conv3d"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "11.4.0.106 b'vtrt'\n"


# Whole networks.


@pytest.mark.long
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_chip_alone(small, chips_of_plan, graph, precision, chip):
    done = build(typed(small(graph), precision), [chip])
    if (precision, chip) == ("fp32", "sm75"):
        assert done.plan is None
        return
    assert (done.errors, done.warnings) == ("", {})
    assert chips_of_plan(done.plan) == [chip]


NETWORKS = {
    "r2plus1d_18": {},
    "r2plus1d_34": {"counts": (3, 4, 6, 3), "per_conv": True},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A function that returns the fp32 model of a network at full size, which nobody has run."""
    folder = tmp_path_factory.mktemp("whole")

    @functools.cache
    def whole(network, graph):
        if network == "motion":
            input = "float32" if graph == "conv2d" else "uint8"
            options = ["--graph", graph, "--input", input, "--name", graph, "--out", str(folder)]
            assert main(["export", "motion", *options]) == 0
            return folder / f"{graph}-fp32{'-conv2d' if graph == 'conv2d' else ''}.onnx"
        parameters = random_parameters(classes=400, **NETWORKS[network])
        input = FLOAT if graph == "conv2d" else None
        spec = spec_for(400, frames=16, size=112, input=input)
        model = small_network(spec, parameters=parameters)
        path = folder / f"{network}-{graph}.onnx"
        onnx.save(conv2d_from_conv3d(model) if graph == "conv2d" else model, path)
        return path

    return whole


@pytest.mark.long
@pytest.mark.parametrize(
    ("network", "graph", "precision"),
    [
        *(("motion", graph, precision) for graph in GRAPHS for precision in PRECISIONS),
        *(("r2plus1d_18", "conv3d", precision) for precision in PRECISIONS),
        ("r2plus1d_18", "conv2d", "int8"),
        *(("r2plus1d_34", "conv3d", precision) for precision in ("fp16", "int8")),
        ("r2plus1d_34", "conv2d", "fp16"),
    ],
)
def test_whole_networks(whole, chips_of_plan, network, graph, precision):
    path = whole(network, graph)
    chips = LATER if precision == "fp32" else CHIPS
    done = build(typed(path, precision), chips)
    assert (done.errors, done.warnings) == ("", {})
    assert chips_of_plan(done.plan) == list(chips)
    if precision == "fp32":
        assert build(onnx.load(path), ["sm75"]).plan is None


@needs("torchvision")
@pytest.mark.long
def test_a_model_brought_in(tmp_path, chips_of_plan):
    """A torch module, and the ONNX file of another program."""
    from networks import torchvision_network

    network, _ = torchvision_network(num_classes=7)
    spec = spec_for(7, frames=8, size=48)
    onnx_from_torch(network, spec, tmp_path / "torch.onnx")
    onnx_from_onnx(tmp_path / "torch.onnx", spec, tmp_path / "adapted.onnx")
    for name in ("torch", "adapted"):
        for precision in PRECISIONS:
            chips = LATER if precision == "fp32" else CHIPS
            done = build(typed(tmp_path / f"{name}.onnx", precision), chips)
            assert (done.errors, done.warnings) == ("", {})
            assert chips_of_plan(done.plan) == list(chips)
