"""Memory, streams and graphs of CUDA."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest
from cuda import direct, failing

from r2p_edge.errors import BackendError
from r2p_edge.runtimes.tensorrt.cudart import CudaError

PETABYTE = 1 << 50


TO_DEVICE, TO_HOST = "host to device", "device to host"


def test_copies_are_done_in_the_order_of_the_stream(cuda, keep):
    stream, device = keep(cuda.stream()), keep(cuda.device_memory(64))
    hosts = [keep(cuda.host_memory(64)) for _ in range(4)]
    one, other, first, second = (host.array((8,), np.float64) for host in hosts)
    one[:], other[:] = np.arange(8), -np.arange(8)
    for source, result in ((hosts[0], hosts[2]), (hosts[1], hosts[3])):
        stream.copy(device.address, source.address, 64, TO_DEVICE)
        # Its second half alone.
        stream.copy(result.address + 32, device.address + 32, 32, TO_HOST)
    stream.synchronize()
    np.testing.assert_array_equal(first[4:], one[4:])
    np.testing.assert_array_equal(second[4:], other[4:])


def test_memory_is_filled_in_the_order_of_the_stream(cuda, keep):
    stream, device = keep(cuda.stream()), keep(cuda.device_memory(16))
    host = keep(cuda.host_memory(16))
    shown = host.array((16,), np.uint8)
    for value in (0, 200):
        stream.fill(device.address, 7, 16)
        stream.fill(device.address + 4, value, 8)
        stream.copy(host.address, device.address, 16, TO_HOST)
        stream.synchronize()
        assert shown.tolist() == [7] * 4 + [value] * 8 + [7] * 4


def test_a_copy_is_not_there_before_one_waits_for_it(fake, loop):
    copies = loop(fake)
    copies.given[:] = 7
    copies.copy()
    assert (copies.got == -1).all()
    copies.stream.synchronize()
    assert (copies.got == 7).all()


def test_threads_do_not_disturb_each_other(cuda, loop):
    loops, good = [loop(cuda) for _ in range(4)], []

    def work(number):
        good.append(all(loops[number].works(100 * number + i) for i in range(50)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good == [True] * 4


def test_host_memory_is_seen_through_arrays_of_any_type(cuda, keep):
    memory = keep(cuda.host_memory(24))
    memory.array((2, 3), np.float32)[:] = 1
    assert memory.array((24,), np.uint8).tobytes() == np.ones(6, np.float32).tobytes()
    with pytest.raises(TypeError, match="too small"):
        memory.array((25,), np.uint8)


def test_a_device_reads_mapped_memory_where_it_is(cuda, keep):
    mapped, result = keep(cuda.host_memory(8, mapped=True)), keep(cuda.host_memory(8))
    mapped.array((8,), np.uint8)[:] = 3
    stream = keep(cuda.stream())
    stream.copy(result.address, mapped.device_address, 8, TO_HOST)
    stream.synchronize()
    assert (result.array((8,), np.uint8) == 3).all()


@pytest.mark.parametrize("kind", ["device_memory", "host_memory", "stream"])
def test_freeing_twice_is_freeing_once(cuda, kind):
    nbytes = () if kind == "stream" else (64,)
    resource = getattr(cuda, kind)(*nbytes)
    give_back, value = (
        (resource.destroy, "handle") if kind == "stream" else (resource.free, "address")
    )
    assert getattr(resource, value)
    give_back()
    give_back()
    with pytest.raises(BackendError, match="given back to CUDA; make a new one"):
        getattr(resource, value)


def test_at_the_interpreters_exit_cuda_may_be_gone_before(fake, monkeypatch):
    memories = [fake.device_memory(8) for _ in range(2)]
    addresses = [memory.address for memory in memories]
    with monkeypatch.context() as patch:
        failing(patch, "cudaFree", 4)
        memories[0].free()
        failing(patch, "cudaFree", 700)
        with pytest.raises(CudaError, match="cudaFree"):
            memories[1].free()
    for address in addresses:
        fake.call("cudaFree", address)


def test_a_graph_repeats_what_was_captured(cuda, loop, keep):
    copies = loop(cuda)
    copies.given[:] = 1
    graph = keep(copies.stream.capture(copies.copy))
    copies.stream.synchronize()
    assert (copies.got == -1).all()
    for number in (2, 3):
        copies.given[:] = number
        graph.launch()
        copies.stream.synchronize()
        assert (copies.got == number).all()
    graph.destroy()
    with pytest.raises(BackendError, match="this CudaGraph was given back"):
        graph.launch()


@pytest.mark.parametrize("synchronizes", [False, True])
def test_a_stream_survives_a_capture_that_fails(cuda, loop, synchronizes):
    copies = loop(cuda)

    def work():
        copies.copy()
        if synchronizes:
            copies.stream.synchronize()
        return synchronizes

    assert copies.stream.capture(work) is None
    assert copies.works(4)


def test_a_library_that_captures_nothing_says_so_at_the_end(fake, loop, monkeypatch):
    monkeypatch.setenv("FAKE_CUDA_NO_CAPTURE", "1")
    copies = loop(fake)
    assert copies.stream.capture(lambda: True) is None
    assert copies.works(4)


@pytest.mark.parametrize("breaks", [False, True])
def test_what_work_raises_is_raised_by_capture(cuda, loop, breaks):
    copies = loop(cuda)

    def work():
        copies.copy()
        if breaks:
            with pytest.raises(CudaError, match="not permitted when stream is capturing"):
                copies.stream.synchronize()
        raise ValueError("not CUDA's")

    with pytest.raises(ValueError, match="not CUDA's"):
        copies.stream.capture(work)
    assert copies.works(4)


def test_host_work_is_launched_in_stream_order(fake, loop, keep):
    seen, copies = [], loop(fake)
    work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda data: seen.append(copies.got[0]))
    launch = direct(fake, "fake_launch")
    launch.argtypes = (ctypes.c_void_p, type(work), ctypes.c_void_p)

    def queue():
        launch(copies.stream.handle, work, None)
        copies.copy()
        launch(copies.stream.handle, work, None)
        return True

    copies.given[:] = 6
    queue()
    assert not seen
    copies.stream.synchronize()
    assert seen == [-1, 6]
    graph = keep(copies.stream.capture(queue))
    copies.given[:] = 8
    graph.launch()
    copies.stream.synchronize()
    assert seen == [-1, 6, 6, 8]


def test_the_kinds_of_memory_can_be_told_apart(fake, keep):
    allocated = direct(fake, "fake_allocated")
    before = allocated()
    memories = [fake.device_memory(64), fake.host_memory(64), fake.host_memory(64, mapped=True)]
    assert allocated() == before + 3
    asked = [direct(fake, f"fake_is_{kind}") for kind in ("device", "pinned")]
    for ask in asked:
        ask.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    answers = [[ask(each.address + 60, 4) for ask in asked] for each in memories]
    assert answers == [[1, 0], [0, 1], [1, 1]]
    assert not any(ask(each.address + 60, 5) for each in memories for ask in asked)
    freed = memories[0].address
    for each in memories:
        each.free()
    assert not asked[0](freed, 1)
    assert allocated() == before + 3
