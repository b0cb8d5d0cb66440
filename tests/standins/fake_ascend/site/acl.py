"""A stand-in for CANN's pyACL that computes in ONNX Runtime and refuses misuse by return codes.

Signatures, return values and restrictions are those of CANN's "AscendCL application development
(Python) API reference" (8.0 and 8.5, aclpythondevg_01_*): the code comes last or alone; a process
initialises once; a thread has the context that was made or set in it; a model is loaded, run and
unloaded in one context; memory, data buffers, datasets and descriptions are freed one by one. It
cannot show what a chip computes, or how long.

FAKE_LITE_CHIP: the chip in the machine. FAKE_ACL: "init", "device", "memory" or "execute" makes
that call fail. `leaks()` lists what was not freed, `calls` every call.
"""

import ctypes
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fake_om import LoadError, Model

_here = threading.local()
_executing = threading.Lock()
_state = SimpleNamespace(
    initialized=False, finalized=False, devices=[], contexts={}, memory={}, buffers={}, datasets={}
)
_state.models, _state.descriptions, _state.next = {}, {}, 1000
calls = []

PARAM, UNINITIALIZED, REPEATED, MODEL_ID = 100000, 100001, 100002, 145003
CONTEXT, OTHER_CONTEXT, NO_MEMORY = 107002, 107004, 207001
BROKEN, SETUP, GE = 507011, 507033, 500002


def leaks():
    kinds = ("devices", "contexts", "memory", "buffers", "datasets", "models", "descriptions")
    return [kind for kind in kinds if getattr(_state, kind)]


def _new(table, value):
    _state.next += 8
    table[_state.next] = value
    return _state.next


def _fail(code, text):
    _here.error = text
    return code


def _function(call):
    """A function of the extension: positional arguments, and none before `init`."""

    def checked(*arguments):
        calls.append((call.__name__, *arguments))
        if not _state.initialized or _state.finalized:
            raise AssertionError(f"acl.{call.__name__} before acl.init or after acl.finalize")
        return call(*arguments)

    checked.__name__ = call.__name__
    return checked


def _asked(what):
    return os.environ.get("FAKE_ACL") == what


# acl


def init(config_path="", /):
    if _asked("init"):
        return _fail(BROKEN, "E39999: Inner Error, Please contact support engineer!\n  TraceBack")
    if _state.initialized:
        return REPEATED
    _state.initialized = True
    return 0


def finalize():
    _state.finalized = True
    return 0


def get_soc_name():
    return os.environ.get("FAKE_LITE_CHIP")


def get_recent_err_msg():
    text, _here.error = getattr(_here, "error", None), None
    return text


@_function
def create_data_buffer(data, size, /):
    return _new(_state.buffers, (data, size))


@_function
def destroy_data_buffer(data_buffer, /):
    return 0 if _state.buffers.pop(data_buffer, None) else PARAM


# acl.rt


@_function
def set_device(device_id, /):
    if _asked("device"):
        return _fail(SETUP, "EE9999: device open failed")
    _state.devices.append(device_id)
    return 0


@_function
def reset_device(device_id, /):
    # Calls are counted; where the last one releases the device, contexts that were made go first.
    last = _state.devices.count(device_id) == 1
    if device_id not in _state.devices or (last and device_id in _state.contexts.values()):
        return PARAM
    _state.devices.remove(device_id)
    return 0


@_function
def create_context(device_id, /):
    if device_id not in _state.devices:
        return 0, 107001
    _here.context = _new(_state.contexts, device_id)
    return _here.context, 0


@_function
def set_context(context, /):
    if context not in _state.contexts:
        return CONTEXT
    _here.context = context
    return 0


@_function
def destroy_context(context, /):
    if _state.contexts.pop(context, None) is None:
        return CONTEXT
    if getattr(_here, "context", None) == context:
        _here.context = None
    return 0


def _context():
    context = getattr(_here, "context", None)
    return context if context in _state.contexts else None


@_function
def malloc(size, policy, /):
    if _context() is None:
        return 0, CONTEXT
    if size < 1 or policy not in range(6):
        return 0, PARAM
    if _asked("memory"):
        return 0, _fail(NO_MEMORY, "EL0004: Failed to allocate memory")
    memory = ctypes.create_string_buffer(b"\xab" * size, size)
    address = ctypes.addressof(memory)
    _state.memory[address] = memory
    return address, 0


@_function
def free(dev_ptr, /):
    if _context() is None:
        return CONTEXT
    return 0 if _state.memory.pop(dev_ptr, None) is not None else PARAM


@_function
def memcpy(dst, dest_max, src, count, kind, /):
    if _context() is None:
        return CONTEXT
    if kind not in (1, 2) or count > dest_max:
        return PARAM
    inside = _state.memory.get(dst if kind == 1 else src)
    if inside is None or count > len(inside):
        return PARAM
    ctypes.memmove(dst, src, count)
    return 0


# acl.mdl


@_function
def load_from_file(model_path, /):
    if _context() is None:
        return 0, CONTEXT
    if not Path(model_path).is_file():
        return 0, 145002
    try:
        model = Model(model_path)
    except LoadError:
        return 0, _fail(GE, "E19999: the model is for another soc\n\tTraceBack (most recent call)")
    return _new(_state.models, (model, _context())), 0


@_function
def unload(model_id, /):
    found = _state.models.get(model_id)
    if found is None:
        return MODEL_ID
    if found[1] != _context():
        return OTHER_CONTEXT
    del _state.models[model_id]
    return 0


@_function
def create_desc():
    return _new(_state.descriptions, [])


@_function
def destroy_desc(model_desc, /):
    return 0 if _state.descriptions.pop(model_desc, None) is not None else PARAM


@_function
def get_desc(model_desc, model_id, /):
    if model_desc not in _state.descriptions:
        return PARAM
    if model_id not in _state.models:
        return MODEL_ID
    _state.descriptions[model_desc][:] = [_state.models[model_id][0]]
    return 0


def _of(model_desc, end):
    (model,) = _state.descriptions[model_desc]
    if end == "input":
        return model.inputs
    # ATC puts the operator's name and the output's number before the name.
    return [(f"MatMul_{n}:0:{name}", *rest) for n, (name, *rest) in enumerate(model.outputs)]


_ACL_TYPES = {np.float32: 0, np.float16: 1, np.uint8: 4}


def _about(end):
    def count(model_desc, /):
        return len(_of(model_desc, end))

    def dims(model_desc, index, /):
        name, shape, _ = _of(model_desc, end)[index]
        shape = [size if isinstance(size, int) else -1 for size in shape]
        return {"name": name, "dimCount": len(shape), "dims": shape}, 0

    def size(model_desc, index, /):
        _, shape, dtype = _of(model_desc, end)[index]
        sizes = [each if isinstance(each, int) else 8 for each in shape]
        needed = int(np.prod(sizes)) * np.dtype(dtype).itemsize
        return needed if end == "input" else -(-needed // 32) * 32  # padded

    def name(model_desc, index, /):
        return _of(model_desc, end)[index][0]

    def data_type(model_desc, index, /):
        return _ACL_TYPES[_of(model_desc, end)[index][2]]

    functions = {
        f"get_num_{end}s": count,
        f"get_{end}_dims": dims,
        f"get_{end}_size_by_index": size,
        f"get_{end}_name_by_index": name,
        f"get_{end}_data_type": data_type,
    }
    for given, function in functions.items():
        function.__name__ = given
    return {given: _function(function) for given, function in functions.items()}


@_function
def create_dataset():
    return _new(_state.datasets, [])


@_function
def destroy_dataset(dataset, /):
    return 0 if _state.datasets.pop(dataset, None) is not None else PARAM


@_function
def add_dataset_buffer(dataset, data_buffer, /):
    if dataset not in _state.datasets or data_buffer not in _state.buffers:
        return dataset, PARAM
    _state.datasets[dataset].append(data_buffer)
    return dataset, 0


@_function
def execute(model_id, input, output, /):
    found = _state.models.get(model_id)
    if found is None:
        return MODEL_ID
    model, context = found
    if _context() is None:
        return CONTEXT
    if context != _context():
        return OTHER_CONTEXT
    if _asked("execute"):
        return _fail(BROKEN, "EZ9999: Inner Error! Aicore kernel execute failed")
    sides = [[_state.buffers[each] for each in _state.datasets[side]] for side in (input, output)]
    if [len(side) for side in sides] != [len(model.inputs), len(model.outputs)]:
        return PARAM
    if not _executing.acquire(blocking=False):
        return BROKEN  # two threads at once
    try:
        feeds = [bytes(_state.memory[address].raw[:size]) for address, size in sides[0]]
        for (address, size), answer in zip(sides[1], model.run(feeds)):
            data = answer.tobytes()
            if len(data) > size:
                return PARAM
            ctypes.memmove(address, data, len(data))
    finally:
        _executing.release()
    return 0


def _module(*functions):
    return SimpleNamespace(**{function.__name__: function for function in functions})


rt = _module(
    set_device, reset_device, create_context, set_context, destroy_context, malloc, free, memcpy
)
mdl = _module(
    load_from_file, unload, create_desc, destroy_desc, get_desc, create_dataset, destroy_dataset,
    add_dataset_buffer, execute,
)  # fmt: skip
vars(mdl).update(_about("input") | _about("output"))
del set_device, reset_device, create_context, set_context, destroy_context, malloc, free, memcpy
del load_from_file, unload, create_desc, destroy_desc, get_desc, create_dataset, destroy_dataset
del add_dataset_buffer, execute
