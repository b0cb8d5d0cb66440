"""trtexec of each generation: what it is told to build, how an engine is proven, how it fails."""

import json
import os
import shlex
import subprocess

import numpy as np
import onnx
import pytest
from fake_tensorrt.trtexec import install_program
from models import brightness_model, spec_of_brightness
from requirements import needs
from tensorrt_models import small
from trtexec_models import CLIPS, RELEASES, frames

from r2p_edge.errors import BackendError, ModelError, SpecError, UsageError
from r2p_edge.export.targets.tensorrt.trtexec import Trtexec, find_trtexec
from r2p_edge.runtimes.tensorrt.plan_header import read_plan

pytestmark = [
    pytest.mark.slow,
    needs("onnx"),
    needs("onnxruntime"),
    pytest.mark.usefixtures("no_trtexec"),
]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """The calls of the program, so far."""
    log = tmp_path / "calls"
    monkeypatch.setenv("FAKE_TRTEXEC_LOG", str(log))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def options(call):
    return {argument.partition("=")[0] for argument in call}


def test_the_version(release, tool):
    assert tool.version() == RELEASES[release]
    assert tool.strongly_typed() is (release == "11.4")


@pytest.mark.parametrize(
    ("precision", "weak", "strong"),
    [
        ("fp32", {"--noTF32"}, {"--noTF32"}),
        ("fp16", {"--fp16"}, set()),
        ("int8", {"--fp16", "--int8"}, set()),
    ],
)
def test_what_each_generation_is_told(
    tmp_path, release, tool, source, calls, precision, weak, strong
):
    path, cache = tmp_path / "model.engine", tmp_path / "timings"
    path.write_bytes(b"an older one")
    tool.build(source, path, precision=precision, workspace=3 << 30, timing_cache=cache)
    always = {"--onnx", "--saveEngine", "--skipInference", "--memPoolSize", "--timingCacheFile"}
    assert options(calls()[-1]) == always | (strong if release == "11.4" else weak)
    assert "--memPoolSize=workspace:3072" in calls()[-1]
    assert cache.read_bytes() == b"timings"
    assert read_plan(path).version[:3] == RELEASES[release]


def test_kernels_that_memory_was_short_for_are_counted(tmp_path, release, tool, monkeypatch):
    source = small(tmp_path / "model.onnx")
    count = sum(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    assert tool.build(source, tmp_path / "whole.engine", precision="fp32") == 0
    monkeypatch.setenv("FAKE_TENSORRT_SHORT", "1")
    assert tool.build(source, tmp_path / "short.engine", precision="fp32") == count


def test_quantized_models_are_told_to_be(tmp_path, release, tool):
    from onnx import helper, numpy_helper

    path = brightness_model(tmp_path / "model.onnx")
    model = onnx.load(path)
    scale, zero = np.float32(1.0), np.int8(0)
    model.graph.initializer.extend(
        [numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(zero, "zero")]
    )
    cast = model.graph.node[0]
    cast.output[0] = "unquantized"
    model.graph.node.insert(
        1, helper.make_node("QuantizeLinear", ["unquantized", "scale", "zero"], ["q"])
    )
    model.graph.node.insert(
        2, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["float"])
    )
    onnx.save(model, path)
    plan = tmp_path / "model.plan"
    tool.build(path, plan, precision="int8")
    clip = frames((3, 9, 0, 100))
    assert tool.run(plan, "frames", clip, "logits").tolist() == [[3, 9, 0, 100]]


def test_batches_of_the_engine(tmp_path, tool, calls):
    model = brightness_model(tmp_path / "model.onnx", batch=2)
    plan = tmp_path / "model.plan"
    tool.build(model, plan, precision="fp32")
    before = len(calls())
    clips = np.concatenate([CLIPS, CLIPS[:1]])
    answers = tool.run(plan, "frames", clips, "logits")
    assert (answers.dtype, answers.tolist()) == (np.float32, clips[:, :, 0, 0, 0].tolist())
    # A process for each batch, and one before.
    assert len(calls()) - before == 3


def test_names_that_the_tool_takes_for_something_else(tmp_path, tool):
    spec = spec_of_brightness()
    for name in ("clip:0", "a,b"):
        named = spec.replace(input=spec.input.__class__(name=name))
        model = brightness_model(tmp_path / "model.onnx", named)
        plan = tmp_path / "model.plan"
        tool.build(model, plan, precision="fp32")
        if name == "clip:0":
            assert tool.run(plan, name, CLIPS, "logits").shape == (2, 4)
            continue
        with pytest.raises(UsageError, match="trtexec splits names at commas and quotes; rename"):
            tool.run(plan, name, CLIPS, "logits")


def test_what_does_not_belong_to_the_engine(tool, plan, tmp_path, monkeypatch):
    # As a runtime takes it: a name matters where there are several.
    assert tool.run(plan, "input", CLIPS, "output").shape == (2, 4)
    with pytest.raises(SpecError, match=r"takes \(1, 4, 8, 8, 3\), but the clips are"):
        tool.run(plan, "frames", CLIPS[:, :2], "logits")
    other = tmp_path / "other.plan"
    other.write_bytes(b"ptrt" + plan.read_bytes()[4:])
    with pytest.raises(
        ModelError, match=r"exit code 1 for .* Error\[1\]: .*kPLAN_MAGIC_TAG failed"
    ):
        tool.run(other, "frames", CLIPS, "logits")
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", "8.6.1")
    with pytest.raises(ModelError, match=r"expecting library version 8\.6\.1\.6 got 10\.3\.0\.26"):
        Trtexec(tool.program).run(plan, "frames", CLIPS, "logits")


def test_which_program_is_taken(tmp_path, monkeypatch):
    assert find_trtexec() is None
    jetpack = install_program(tmp_path / "jetpack")
    monkeypatch.setattr("r2p_edge.export.targets.tensorrt.trtexec._JETPACK", str(jetpack))
    assert find_trtexec() == jetpack
    on_path = install_program(tmp_path / "path")
    monkeypatch.setenv("PATH", f"{on_path.parent}:/usr/bin:/bin")
    assert find_trtexec() == on_path
    named = install_program(tmp_path / "named")
    monkeypatch.setenv("R2P_TRTEXEC", str(named))
    assert find_trtexec() == named
    monkeypatch.setenv("R2P_TRTEXEC", str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"R2P_TRTEXEC is .*absent, which is not a program"):
        find_trtexec()


FAILURES = {
    "refuse": (
        ModelError,
        r"^trtexec ended with exit code 1 for .* said last: \[TRT\] ModelImporter\.cpp:777: ERROR:"
        r" .* \[8\] Assertion failed: creator && \"Plugin not found\"; try .* by hand",
    ),
    "crash": (ModelError, r"^trtexec was killed by SIGABRT for .* said last: .*lazy loading"),
    "cuda": (
        BackendError,
        r"SIGABRT for .* last: Cuda failure: no CUDA-capable device is detected; check that the",
    ),
    "nothing": (ModelError, r"^trtexec wrote no file for .* said last: .*; try "),
    "empty": (ModelError, r"^trtexec wrote no file for "),
    "late": (ModelError, r"exit code 1 for .* said last: Could not write to output file: No space"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_build_that_fails_leaves_nothing(tmp_path, tool, source, plan, monkeypatch, failure):
    kind, words = FAILURES[failure]
    monkeypatch.setenv("FAKE_TRTEXEC", failure)
    with pytest.raises(kind, match=words) as caught:
        tool.build(source, plan, precision="fp16")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert not plan.exists()


@pytest.mark.parametrize("failure", ["refuse", "crash", "cuda", "nothing"])
def test_a_run_that_fails(tool, plan, monkeypatch, failure):
    monkeypatch.setenv("FAKE_TRTEXEC", failure)
    with pytest.raises(FAILURES[failure][0], match=r"for .*engine and said last: ") as caught:
        tool.run(plan, "frames", CLIPS, "logits")
    assert "\n" not in str(caught.value)


def test_outputs_that_cannot_be_read(tool, plan, monkeypatch):
    monkeypatch.setenv("FAKE_TRTEXEC", "garbled")
    with pytest.raises(
        BackendError, match=r"the outputs of .* that trtexec wrote cannot be read \(Untermin"
    ):
        tool.run(plan, "frames", CLIPS, "logits")


def test_what_the_tool_does_not_know(tool, source, tmp_path, monkeypatch):
    """An option that is gone ends it, so that no build goes on without what was asked for."""
    monkeypatch.setattr(Trtexec, "strongly_typed", lambda self: False)
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", "11.4")
    with pytest.raises(ModelError, match=r"exit code 1 for .* said last: Unknown option: --fp16;"):
        tool.build(source, tmp_path / "model.plan", precision="fp16")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("mute", "--help does not print its version and said last: .*; check that TensorRT is"),
        ("help", "--help ended with exit code 3 and said last: "),
    ],
)
def test_a_tool_that_says_nothing_of_itself(tool, source, monkeypatch, failure, said):
    monkeypatch.setenv("FAKE_TRTEXEC", failure)
    for ask in (tool.version, tool.strongly_typed):
        with pytest.raises(BackendError, match=said):
            ask()


def test_a_library_that_is_missing(tmp_path, source):
    program = tmp_path / "trtexec"
    words = "error while loading shared libraries: libnvinfer.so.10: cannot open shared object"
    program.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 127\n")
    program.chmod(0o755)
    with pytest.raises(BackendError, match=f"exit code 127 and said last: {words}; check"):
        Trtexec(program).build(source, tmp_path / "model.plan", precision="fp32")
    program.write_bytes(b"\x7fELF for another machine")
    with pytest.raises(BackendError, match=r"trtexec cannot be started \(.*\); check that it may"):
        Trtexec(program).version()


def test_a_tool_that_hangs(tool, source, plan, monkeypatch):
    assert tool.version()
    started = []

    def time_is_up(process, timeout=None):
        if timeout is None:
            return wait(process)
        started.append(process)
        plan.write_bytes(b"half")
        raise subprocess.TimeoutExpired(process.args, timeout)

    wait = subprocess.Popen.wait
    monkeypatch.setenv("FAKE_TRTEXEC", "hang")
    monkeypatch.setattr(subprocess.Popen, "wait", time_is_up)
    with pytest.raises(BackendError, match=r"trtexec did not finish within 3600 s; .* by hand$"):
        tool.build(source, plan, precision="fp32")
    (process,) = started
    assert process.wait() == -9
    assert not plan.exists()


def test_a_tool_that_says_nothing_of_itself_in_time(tool, monkeypatch):
    limits = []

    def time_is_up(process, timeout=None):
        if timeout is None:
            return wait(process)
        limits.append(timeout)
        raise subprocess.TimeoutExpired(process.args, timeout)

    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", time_is_up)
    for timeout, limit in ((3600.0, 60), (1.5, 1.5)):
        with pytest.raises(BackendError, match=f"did not finish within {limit} s"):
            Trtexec(tool.program, timeout=timeout).version()
    assert limits == [60.0, 1.5]


def test_ctrl_c_ends_the_tool(tool, source, plan, monkeypatch):
    assert tool.version()
    started = []

    def interrupted(process, timeout=None):
        if timeout is None:
            return wait(process)
        started.append(process)
        plan.write_bytes(b"half")
        raise KeyboardInterrupt

    wait = subprocess.Popen.wait
    monkeypatch.setenv("FAKE_TRTEXEC", "hang")
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.build(source, plan, precision="fp32")
    (process,) = started
    assert process.wait() == -9
    assert not plan.exists()


def test_the_command_to_try_by_hand_can_be_tried(tmp_path, tool, source, plan, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("FAKE_TRTEXEC", "refuse")
        messages = []
        for fail in (
            lambda: tool.build(source, tmp_path / "other.plan", precision="fp32"),
            lambda: tool.run(plan, "frames", CLIPS, "logits"),
        ):
            with pytest.raises(ModelError) as caught:
                fail()
            messages.append(str(caught.value))
    tried = tmp_path / "tried"
    tried.mkdir()
    for message in messages:
        command = message.partition("; try ")[2].partition(" by hand")[0]
        assert shlex.split(command)[-1] == "--verbose"
        subprocess.run(command, shell=True, cwd=tried, env=os.environ, check=True)


def test_paths_are_from_where_the_caller_is(tmp_path, tool, source, monkeypatch):
    from pathlib import Path

    monkeypatch.chdir(tmp_path)
    here, plan = Path("model.onnx"), Path("~=odd, model.plan")
    tool.build(here, plan, precision="fp32", timing_cache=Path("timings"))
    assert (tmp_path / "timings").exists()
    assert tool.run(plan, "frames", CLIPS, "logits").shape == (2, 4)
