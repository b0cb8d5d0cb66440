"""Parts on each runtime: what they read and write is the caller's memory."""

from types import SimpleNamespace

import numpy as np
import pytest
from per_frame_models import tiny_spec, write_per_frame_model

from r2p_edge.errors import BackendError, ModelError
from r2p_edge.runtimes import runtime_type
from r2p_edge.runtimes.base import Options, check_part_device
from r2p_edge.runtimes.openvino_part import OpenVinoPart
from r2p_edge.runtimes.part import PartTensor, aligned, check_shared

RUNTIMES = pytest.mark.parametrize("name", ["onnxruntime", "openvino"])


@pytest.fixture
def folder(tmp_path):
    write_per_frame_model(tmp_path)
    return tmp_path


def open_part(name, path, **more):
    return runtime_type(name).open_part(path, tiny_spec(), Options(threads=1), **more)


@RUNTIMES
def test_tensors_are_told(name, folder):
    head = open_part(name, folder / "tiny-fp32-head.onnx")
    assert head.inputs["frame"] == PartTensor((1, 8, 8, 3), "uint8")
    assert head.inputs["stem.ago2"] == PartTensor((1, 2, 8, 8), "float32")
    assert set(head.outputs) == {"stem", "middle", "feature"}
    tail = open_part(name, folder / "tiny-fp32-tail.onnx", clips=None)
    assert tail.inputs["feature.p0"] == PartTensor((-1, 2, 8, 8), "float32")
    assert tail.outputs["logits"].dtype == "float32"


@RUNTIMES
def test_arrays_are_read_and_written_where_they_lie(name, folder):
    part = open_part(name, folder / "tiny-fp32-head.onnx")
    call = part.call()
    arrays = {each: aligned(t.shape, t.dtype) for each, t in (part.inputs | part.outputs).items()}
    for each, array in arrays.items():
        array.fill(1)
        call.bind(each, part.holder(array))
    call.run()
    first = arrays["middle"].copy()
    assert (arrays["middle"] != 1).any()
    arrays["frame"].fill(200)  # without binding anything again
    call.run()
    assert (arrays["middle"] != first).any()
    other = aligned((1, 2, 8, 8), "float32")
    other.fill(0)
    call.bind("middle", part.holder(other))
    arrays["middle"].fill(7)
    call.run()
    assert (arrays["middle"] == 7).all()
    assert other.any()


@RUNTIMES
def test_calls_of_one_part_have_arrays_of_their_own(name, folder):
    part = open_part(name, folder / "tiny-fp32-tail.onnx")
    found = []
    for value in (1, 5):
        call = part.call()
        kept = [np.full((1, 2, 8, 8), value, np.float32) for _ in part.inputs]
        for each, array in zip(part.inputs, kept):
            call.bind(each, part.holder(array))
        found.append((call, kept, out := np.zeros((1, 4), np.float32)))
        call.bind("logits", part.holder(out))
    for call, _, _ in found:
        call.run()
    np.testing.assert_array_equal(found[1][2], 5 * found[0][2])
    assert found[0][2].any()


def test_a_run_that_fails_on_onnxruntime(folder):
    part = open_part("onnxruntime", folder / "tiny-fp32-tail.onnx")
    call, kept = part.call(), np.zeros((1, 2, 8, 9), np.float32)
    for each in part.inputs:
        call.bind(each, part.holder(kept))
    with pytest.raises(BackendError, match="onnxruntime failed on cpu"):
        call.run()


def test_a_run_that_fails_on_openvino():
    def fail():
        raise RuntimeError("no\nmemory")

    request = SimpleNamespace(start_async=lambda: None, wait=fail)
    part = OpenVinoPart(
        None, SimpleNamespace(inputs=[], outputs=[], create_infer_request=lambda: request)
    )
    with pytest.raises(BackendError, match=r"openvino failed on cpu \(no memory\)"):
        part.call().run()


@RUNTIMES
def test_a_file_that_is_no_model(name, tmp_path):
    (tmp_path / "head.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot load"):
        open_part(name, tmp_path / "head.onnx")


@RUNTIMES
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float16", "float32"])
def test_no_library_copies_what_is_bound(name, folder, dtype):
    part = open_part(name, folder / "tiny-fp32-tail.onnx")
    assert part.holder(aligned((1, 2, 8, 8), dtype)) is not None


def test_a_library_that_copies_is_refused():
    array = aligned((1, 2), "float16")
    check_shared("library", array.ctypes.data, array)
    with pytest.raises(BackendError, match="this library copies arrays of float16, and the"):
        check_shared("library", array.ctypes.data + 64, array)


def test_other_devices_would_copy_the_state():
    check_part_device(runtime_type("openvino"), "cpu")
    with pytest.raises(BackendError, match="on the device cpu, and this is gpu; open the model"):
        check_part_device(runtime_type("openvino"), "gpu")


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_an_aligned_array(dtype):
    array = aligned((1, 3, 5), dtype)
    assert array.shape == (1, 3, 5)
    assert array.dtype == dtype
    assert array.flags.c_contiguous
    assert array.ctypes.data % 64 == 0
