"""Our code against the real Python modules of TensorRT 8.6 to 11.4 and of TensorRT for RTX.

Neither a GPU nor TensorRT's libraries are needed; tensorrt_wheels.py says what is.
"""

from __future__ import annotations

import functools
import json

import pytest
import tensorrt_uses as uses
import tensorrt_wheels as wheels
from paths import HELPERS
from requirements import is_required, needs


@pytest.fixture(scope="session")
def scratch(tmp_path_factory):
    """Where the real modules are put together, and type checkers keep what they know."""
    return tmp_path_factory.mktemp("tensorrt")


def installed(version):
    """Return the version; skip the test if this Python has no such module."""
    if not wheels.package(version).is_dir():
        message = f"needs TensorRT {version}'s Python module; set {wheels.VARIABLE}"
        if is_required("tensorrt_rtx" if version == wheels.RTX else "tensorrt_bindings"):
            pytest.fail(message)
        pytest.skip(message)
    return version


@pytest.fixture(params=wheels.VERSIONS)
def version(request):
    return installed(request.param)


@pytest.fixture(scope="session")
def missing(scratch):
    """Return the probes of our code that a version answers with no."""
    code = uses.sources()

    @functools.cache
    def ours(version):
        return uses.missing_probes(code, wheels.write_stub(version, scratch), scratch)

    return ours


def names():
    """Return all names that any version has."""
    found = set()
    for version in wheels.VERSIONS:
        for name, members in json.loads(wheels.recorded(version).read_text()).items():
            found |= {*name.split("."), *members}
    return found


def findings(code, missing, version, scratch):
    stubs = wheels.write_stub(version, scratch)
    return uses.findings(uses.as_run(code, missing), names(), stubs, scratch)


def test_the_recorded_names_are_those_of_the_real_modules(version, scratch):
    recorded = json.loads(wheels.recorded(version).read_text())
    assert wheels.names(version, scratch) == recorded


@needs("mypy")
@pytest.mark.slow
def test_a_version_has_all_that_our_code_uses_there(version, scratch, missing):
    libraries = ("tensorrt", "tensorrt_rtx") if version == wheels.RTX else ()
    assert findings(uses.sources(*libraries), missing(version), version, scratch) == []


@needs("mypy")
@pytest.mark.slow
def test_some_version_has_what_our_code_asks_for(missing):
    assert not set.intersection(*(missing(installed(one)) for one in wheels.VERSIONS))


@needs("mypy")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "instead"),
    [
        ("set_memory_pool_limit", "set_memory_pool_limits"),
        ("TensorIOMode.INPUT", "TensorIOMode.IN"),
        ("BuilderFlag.TF32", "BuilderFlag.FP16"),
        (".execute_async_v3(", ".execute_async_v3(0, "),
    ],
)
def test_our_code_with_a_mistake_is_found(ours, instead, scratch, missing):
    version = installed("11.4")
    code = uses.sources()
    wrong = {path: text.replace(ours, instead) for path, text in code.items()}
    assert wrong != code
    assert findings(wrong, missing(version), version, scratch)


# The body of a function that has `config: trt.IBuilderConfig`, `thing: Any` and `trt`.
MISTAKES = {
    "config.set_flagg(trt.BuilderFlag.TF32)": 'has no attribute "set_flagg"',
    "config.set_flag(trt.BuilderFlag.FP16)": 'has no attribute "FP16"',
    "config.set_flag()": "Missing positional argument",
    "config.set_flag(trt.BuilderFlag.TF32, True)": "Too many arguments",
    "config.set_flag(flags=trt.BuilderFlag.TF32)": "Unexpected keyword argument",
    "config.set_flag(trt.MemoryPoolType.WORKSPACE)": "incompatible type",
    "config.builder_optimization_level = 'high'": "Incompatible types",
    "config.create_timing_cache(b'').combined()": 'has no attribute "combined"',
    "trt.ICudaEngine()": "Missing positional argument",
    "with trt.Builder(trt.Logger()): pass": 'has no attribute "__enter__"',
    "trt.OnnxParser(trt.INetworkDefinition, trt.Logger())": "incompatible type",
    "flag: trt.QuantizationFlag": 'Name "trt.QuantizationFlag" is not defined',
    "if hasattr(config, 'reset'): config.set_flag(trt.BuilderFlag.FP16)": 'no attribute "FP16"',
    "if not hasattr(trt, 'Dims2'): return\n    trt.Dims5()": 'no attribute "Dims5"',
    "if hasattr(trt, 'Dims9') or trt.Dims5(): pass": 'no attribute "Dims5"',
    "getattr(config, 'set_flag', None)(trt.BuilderFlag.FP16)": 'no attribute "FP16"',
    "if config.flag and hasattr(trt, 'Dims9'): trt.Dims9()": 'no attribute "flag"',
    "thing.set_flag(trt.BuilderFlag.TF32)": 'Expression has type "Any"',
    "config.set_flag(thing)": 'Expression has type "Any"',
    "config.gpu_allocator": 'has no attribute "gpu_allocator"',
    "found = trt.Runtime(trt.Logger()).gpu_allocator": 'Expression has type "Any"',
}
RIGHT = (
    "config.set_flag(trt.BuilderFlag.TF32)",
    "if hasattr(trt.BuilderFlag, 'FP16'): config.set_flag(trt.BuilderFlag.FP16)",
    "if not hasattr(trt.BuilderFlag, 'FP16'): return\n    config.set_flag(trt.BuilderFlag.FP16)",
    "config.set_flag(trt.BuilderFlag.FP16 if hasattr(trt.BuilderFlag, 'FP16') else "
    "trt.BuilderFlag.TF32)",
    "if config.flags and hasattr(config, 'int8_calibrator'): config.int8_calibrator.read()",
    "if not (hasattr(trt, 'Dims9') and trt.Dims9()) and hasattr(trt, 'Dims'): trt.Dims([1])",
    "config.set_flag(getattr(trt.BuilderFlag, 'FP16', trt.BuilderFlag.TF32))",
    "bytes(trt.Builder(trt.Logger()).build_serialized_network(trt.Builder(trt.Logger())"
    ".create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)), config))",
)


def module(body):
    return (
        "from typing import Any\nimport tensorrt as trt\n"
        f"def sample(config: trt.IBuilderConfig, thing: Any) -> None:\n    {body}\n"
    )


@pytest.fixture(scope="session")
def found_in_samples(scratch):
    """Findings in each body, for 11.4."""
    version = installed("11.4")
    bodies = {
        f"r2p_edge/sample{number}.py": body for number, body in enumerate([*MISTAKES, *RIGHT])
    }
    code = {path: module(body) for path, body in bodies.items()}
    missing = uses.missing_probes(code, wheels.write_stub(version, scratch), scratch)
    found = findings(code, missing, version, scratch)
    return {body: [one for one in found if one.startswith(path)] for path, body in bodies.items()}


@needs("mypy")
@pytest.mark.parametrize("body", MISTAKES)
def test_a_mistake_is_found(body, found_in_samples):
    assert any(MISTAKES[body] in one for one in found_in_samples[body])


@needs("mypy")
@pytest.mark.parametrize("body", RIGHT)
def test_what_is_right_is_not(body, found_in_samples):
    assert not found_in_samples[body]


@needs("mypy")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("getattr(trt.BuilderFlag, thing)", "write the name out"),
        ("hasattr(config, str(thing))", "write the name out"),
        ("if hasattr(thing, 'set_flag'): pass", "unknown type"),
    ],
)
def test_a_question_that_cannot_be_looked_up_is_refused(body, message, scratch):
    stubs = wheels.write_stub(installed("11.4"), scratch)
    with pytest.raises(ValueError, match=message):
        uses.missing_probes({"r2p_edge/sample.py": module(body)}, stubs, scratch)


def test_tensorrt_can_call_our_classes_back(version, scratch):
    wheels.run(version, scratch, str(HELPERS / "tensorrt_callbacks.py"))
