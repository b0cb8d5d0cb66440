"""Offline models of Ascend, run by a stand-in for CANN's pyACL that follows its reference."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from types import ModuleType

import numpy as np
import onnx
import pytest
from fake_ascend import SITE, installed, write_om
from models import brightness_model, grey_frames, levels, spec_of_brightness
from requirements import needs
from traps import (
    answers_for_other_memory_layouts,
    answers_outlive_the_next_run,
    answers_several_threads,
    clip,
    refuses_another_shape_of_as_many_bytes,
)

from r2p_edge import Predictor
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.errors import BackendError, MissingDependencyError, ModelError, UsageError
from r2p_edge.runtimes import acl, ascend
from r2p_edge.runtimes.acl import Acl
from r2p_edge.runtimes.base import Options

pytestmark = [needs("onnx"), needs("onnxruntime")]

CHIP = "Ascend310P3"
HALF = spec_of_brightness(precision="fp16")


@pytest.fixture
def at_exit(monkeypatch):
    """Calls for the end of the process, in which the library has not been initialised yet."""
    functions = []
    monkeypatch.setattr(acl, "_initialized", False)
    monkeypatch.setattr(acl, "_open", type(acl._open)())
    monkeypatch.setattr("atexit.register", lambda *call: functions.append(call))
    return functions


@pytest.fixture
def offline(npu, tmp_path, at_exit):
    """An `.om` file and a library that runs it; ais_bench would take neither."""
    source = brightness_model(tmp_path / "model.onnx")
    path = write_om(tmp_path / "a model.om", source, CHIP)
    path.chmod(0o666)
    write_sidecar(path, HALF)
    with installed(CHIP):
        yield path


@pytest.fixture
def library(offline):
    """The stand-in."""
    import acl as found

    assert found.__file__.startswith(str(SITE))
    return found


def test_an_offline_model(offline, library):
    with Predictor(offline, device="ascend:1") as predictor:  # the default
        assert (predictor.runtime, predictor.device) == ("acl", "ascend:1")
        assert predictor.precision == "fp16"
        assert levels(predictor.predict(grey_frames([3, 9, 0, 6], 8, 8))) == [3, 9, 0, 6]
        run = predictor._runtime.run
        assert answers_several_threads(run)
        assert answers_outlive_the_next_run(run)
        assert refuses_another_shape_of_as_many_bytes(run)
        assert answers_for_other_memory_layouts(run)
        assert run(clip(1, 2, 3, 4)).dtype == np.float32
        assert len(library.leaks()) == 7
    assert library.leaks() == []
    predictor._runtime.close()  # twice
    with pytest.raises(BackendError, match="this model is closed"):
        run(clip(1, 2, 3, 4))


def test_the_order_of_calls(offline, library):
    runtime = Acl.open(offline, HALF, Options(device="ascend:1"))
    opened = [name for name, *_ in library.calls]
    runtime.close()
    freed = [name for name, *_ in library.calls[len(opened) :]]
    assert [name for name in opened if not name.startswith("get_")] == [
        *("set_device", "create_context", "load_from_file", "create_desc"),
        *("create_dataset", "malloc", "create_data_buffer", "add_dataset_buffer") * 2,
    ]
    assert freed == [
        "set_context",
        *("destroy_data_buffer", "free", "destroy_dataset") * 2,
        *("destroy_desc", "unload", "destroy_context", "reset_device"),
    ]
    assert library.calls[0] == ("set_device", 1)


def test_the_library_starts_once_and_ends_with_the_process(offline, library, at_exit, monkeypatch):
    first, second = (Acl.open(offline, HALF, Options()) for _ in range(2))
    second.close()
    ((end, *arguments),) = at_exit
    end(*arguments)
    assert library._state.finalized
    assert library.leaks() == []
    with pytest.raises(BackendError, match="this model is closed"):
        first.run(clip(1, 2, 3, 4))


def test_another_library_has_started_it(offline, library, at_exit):
    assert library.init() == 0
    runtime = Acl.open(offline, HALF, Options())
    assert runtime.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    assert at_exit == []  # and will end it
    runtime.close()


def test_another_thread_may_open_run_and_close(offline, library):
    found = []

    def do(work):
        thread = threading.Thread(target=lambda: found.append(work()))
        thread.start()
        thread.join()
        return found[-1]

    runtime = do(lambda: Acl.open(offline, HALF, Options()))
    other = Acl.open(offline, HALF, Options())  # which leaves this thread in its own context
    assert runtime.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    assert do(lambda: other.run(clip(4, 3, 2, 1))).tolist() == [[4, 3, 2, 1]]
    do(runtime.close)
    other.close()
    assert library.leaks() == []


@pytest.mark.parametrize(
    ("failing", "error", "said"),
    [
        ("init", BackendError, r"acl cannot start \(acl\.init returned 507011: the chip failed .*"),
        (
            "device",
            BackendError,
            r"acl cannot load .* on ascend \(acl\.rt\.set_device returned 507033: .*HwHiAiUser, .*"
            r"; it says: EE9999: device open failed\)",
        ),
        (
            "memory",
            BackendError,
            r"\(acl\.rt\.malloc returned 207001: the chip has no memory left; close .*EL0004",
        ),
    ],
)
def test_what_cannot_be_opened_leaves_nothing(offline, library, monkeypatch, failing, error, said):
    monkeypatch.setenv("FAKE_ACL", failing)
    with pytest.raises(error, match=said) as caught:
        Acl.open(offline, HALF, Options())
    assert "\n" not in str(caught.value)
    assert library.leaks() == []


def test_a_model_that_cann_refuses(offline, library, monkeypatch):
    monkeypatch.setenv("FAKE_LITE_CHIP", "Ascend310B4")
    message = r"acl cannot load .*a model\.om on ascend \(acl\.mdl\.load_from_file returned 500002"
    with pytest.raises(ModelError, match=message + ".*E19999: the model is for another soc"):
        Acl.open(offline, HALF, Options())
    assert library.leaks() == []
    # Where the spec tells the chip, the file is not tried at all.
    spec = HALF.replace(target={"device": "ascend310p", "chip": CHIP})
    before = len(library.calls)
    with pytest.raises(ModelError, match="was built for an Ascend310P3 and this machine has an As"):
        Acl.open(offline, spec, Options())
    assert len(library.calls) == before


def test_a_run_that_fails(offline, library, monkeypatch):
    runtime = Acl.open(offline, HALF, Options())
    monkeypatch.setenv("FAKE_ACL", "execute")
    with pytest.raises(BackendError, match=r"acl failed on ascend \(acl\.mdl\.execute returned 50"):
        runtime.run(clip(1, 2, 3, 4))
    monkeypatch.delenv("FAKE_ACL")
    assert runtime.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    runtime.close()


def test_memory_that_cannot_be_freed_is_an_error(offline, library, monkeypatch):
    runtime = Acl.open(offline, HALF, Options())
    monkeypatch.setattr(library.rt, "free", lambda address: 507000)
    with pytest.raises(BackendError, match=r"acl cannot free a model on ascend \(acl\.rt\.free re"):
        runtime.close()
    assert library.leaks() == ["memory"]  # the rest was freed


def test_options_and_files_that_will_not_do(offline, library, npu, tmp_path):
    with pytest.raises(ModelError, match=r"model\.om was made for ascend and cannot run on cpu"):
        Acl.open(offline, HALF, Options(device="cpu"))
    with pytest.raises(BackendError, match="Ascend computes in fp16"):
        Acl.open(offline, spec_of_brightness(), Options())
    with pytest.raises(UsageError, match="has no threads to set on ascend; leave them out"):
        Acl.open(offline, HALF, Options(threads=4))
    with pytest.raises(UsageError, match="keeps no compiled models"):
        Acl.open(offline, HALF, Options(cache=tmp_path))
    with pytest.raises(BackendError, match="acl has no device 'ascend:7' here; it has ascend, as"):
        Acl.open(offline, HALF, Options(device="ascend:7"))
    opened = brightness_model(tmp_path / "open.onnx", batch="N")
    write_om(offline, opened, CHIP)
    with pytest.raises(ModelError, match=r"has open axes \(.*\(-1, .*ATC's --input_shape"):
        Acl.open(offline, HALF, Options())
    assert library.leaks() == []


def test_outputs_are_told_apart_by_their_names(offline, library, tmp_path):
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("Neg", ["logits"], ["other"]))
    kind = onnx.TensorProto.FLOAT
    model.graph.output.insert(0, onnx.helper.make_tensor_value_info("other", kind, [1, 4]))
    onnx.save(model, tmp_path / "two.onnx")
    write_om(offline, tmp_path / "two.onnx", CHIP)
    runtime = Acl.open(offline, HALF, Options())
    assert runtime.run(clip(1, 2, 3, 4)).tolist() == [[1, 2, 3, 4]]
    runtime.close()


def test_where_the_library_is_missing(offline, monkeypatch):
    monkeypatch.setitem(sys.modules, "acl", None)
    with pytest.raises(MissingDependencyError, match=r"acl is not installed; .* set_env\.sh"):
        Acl.open(offline, HALF, Options())
    monkeypatch.setitem(sys.modules, "acl", ModuleType("acl"))  # of that name, of somebody else
    with pytest.raises(MissingDependencyError, match=r"module acl in .* is not CANN's; .* set_"):
        Acl.open(offline, HALF, Options())
    # A file without a named runtime goes to ais_bench then.
    monkeypatch.setitem(sys.modules, "acl", None)
    offline.chmod(0o644)
    safe = offline.rename(offline.with_name("model.om"))
    write_sidecar(safe, HALF)
    with Predictor(safe) as predictor:
        assert predictor.runtime == "ais_bench"


def test_the_chip_of_this_machine(monkeypatch, tmp_path):
    with installed("Ascend310B4"):
        assert ascend.chip_here() == "Ascend310B4"
        monkeypatch.setitem(sys.modules, "acl", None)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert ascend.chip_here() is None
        program = tmp_path / "npu-smi"
        table = (
            "+=====+====+\n| 0       310P3                 | OK\n| 0       310P3    |\n+=====+\n"
        )
        program.write_text(f"#!/bin/sh\nprintf '{table}'\n")
        program.chmod(0o755)
        assert ascend.chip_here() == "Ascend310P3"
        program.write_text("#!/bin/sh\necho dcmi model initialized failed; exit 1\n")
        assert ascend.chip_here() is None


def test_a_process_that_only_opens_ends_well(offline, npu):
    """A model that is open at the end is freed before the library ends."""
    code = (
        "import sys; from pathlib import Path; from r2p_edge.runtimes import ascend\n"
        "ascend._DEVICE_FILES = Path(sys.argv[2])\n"
        "import acl, atexit; atexit.register(lambda: print(acl.leaks(), acl._state.finalized))\n"
        "from r2p_edge import Predictor; predictor = Predictor(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, offline, npu],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SITE), *filter(None, sys.path)])},
    )
    assert (done.returncode, done.stdout) == (0, "[] True\n"), done.stderr


# Arguments of the functions in CANN's reference (aclpythondevg_01_*).
_REFERENCE = """
create_data_buffer 2, destroy_data_buffer 1, rt.set_device 1, rt.reset_device 1,
rt.create_context 1, rt.set_context 1, rt.destroy_context 1, rt.malloc 2, rt.free 1, rt.memcpy 5,
mdl.load_from_file 1, mdl.unload 1, mdl.create_desc 0, mdl.destroy_desc 1, mdl.get_desc 2,
mdl.get_num_inputs 1, mdl.get_num_outputs 1, mdl.get_input_dims 2, mdl.get_output_dims 2,
mdl.get_input_size_by_index 2, mdl.get_output_size_by_index 2, mdl.get_input_name_by_index 2,
mdl.get_output_name_by_index 2, mdl.get_input_data_type 2, mdl.get_output_data_type 2,
mdl.create_dataset 0, mdl.destroy_dataset 1, mdl.add_dataset_buffer 2, mdl.execute 3"""


def test_the_calls_are_those_of_the_reference(offline, library):
    arity = dict(each.split() for each in _REFERENCE.replace("\n", " ").split(","))
    bare = {name.rpartition(".")[2]: int(count) for name, count in arity.items()}
    runtime = Acl.open(offline, HALF, Options())
    runtime.run(clip(1, 2, 3, 4))
    runtime.close()
    assert {name for name, *_ in library.calls} == set(bare)  # all of them are used
    for name, *arguments in library.calls:
        assert len(arguments) == bare[name], name
    assert len(inspect.signature(library.init).parameters) == 1
