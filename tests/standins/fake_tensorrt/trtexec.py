"""A stand-in for NVIDIA's trtexec, with the options of one release and its words for what is wrong.

What it takes, says and writes was read in NVIDIA/TensorRT, samples/common and samples/trtexec, and
in logs of 8.6, 10 and 11.

FAKE_TENSORRT_VERSION chooses the release; FAKE_TENSORRT_WRONG makes it build another model.
FAKE_TRTEXEC_LOG is a file that gets the arguments of each call, a JSON line. FAKE_TRTEXEC makes it
fail: "mute" (no version), "help", "refuse", "cuda", "crash", "hang", "nothing" (it reports success
and writes no file), "empty", "late" (after the file is written), "nan", "garbled".
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shlex
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent

# Major, minor, patch and build of a release.
_NUMBERS = {
    "8.6.1": (8, 6, 1, 6),
    "10.3.0": (10, 3, 0, 26),
    "10.13.3": (10, 13, 3, 9),
    "10.16.1": (10, 16, 1, 11),
    "11.4": (11, 4, 0, 106),
}
_ALL = {
    *("--help", "--onnx", "--saveEngine", "--loadEngine", "--skipInference", "--noTF32"),
    *("--memPoolSize", "--timingCacheFile", "--loadInputs", "--exportOutput", "--dumpOutput"),
    *("--iterations", "--warmUp", "--duration", "--device", "--verbose", "--useSpinWait"),
    *("--useCudaGraph", "--noDataTransfers", "--minShapes", "--optShapes", "--maxShapes"),
}
_WEAK = {"--fp16", "--int8", "--fp8", "--best"}
_OPTIONS = {
    8: _ALL | _WEAK | {"--buildOnly", "--workspace", "--explicitBatch", "--minTiming"},
    10: _ALL | _WEAK | {"--bf16", "--int4", "--stronglyTyped", "--getPlanVersionOnly"},
    11: _ALL
    | {"--stronglyTyped", "--getPlanVersionOnly", "--includeDataTransfers", "--noCudaGraph"},
}
_ELEMENTS = {"tensor(uint8)": "uint8", "tensor(float)": "float32", "tensor(float16)": "float16"}


def install_program(folder):
    """Put a program `trtexec` into `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "trtexec"
    command = shlex.join([sys.executable, str(FOLDER / "trtexec.py")])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program


@functools.cache
def _plans():
    """Return the stand-in's module that writes and reads plans, without the rest of it."""
    spec = importlib.util.spec_from_file_location("plans", FOLDER / "tensorrt" / "_plan.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ToolError(Exception):
    """An error: TensorRT's own words, and after them the tool's."""

    def __init__(self, own, *after):
        self.lines = (own, *after)


def _say(severity, text):
    stream = sys.stderr if severity in "WE" else sys.stdout
    print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{severity}] {text}", file=stream, flush=True)


def _banner(state, numbers):
    if os.environ.get("FAKE_TRTEXEC") == "mute":
        return
    major, minor, patch, build = numbers
    number = major * (1000 if major < 10 else 10000) + minor * 100 + patch
    build = "" if major < 10 else f" [b{build}]"
    called = shlex.join(["trtexec", *sys.argv[1:]])
    print(f"&&&& {state} TensorRT.trtexec [TensorRT v{number}]{build} # {called}", flush=True)


def _help(known):
    print("=== Model Options ===\n  --onnx=<file>               ONNX model\n")
    print("=== Build Options ===")
    for option in sorted(known - {"--onnx"}):
        print(f"  {option:<34} (default = disabled)")


def main(arguments):
    if log := os.environ.get("FAKE_TRTEXEC_LOG"):
        with Path(log).open("a") as file:
            file.write(json.dumps(arguments) + "\n")
    numbers = _NUMBERS[os.environ.get("FAKE_TENSORRT_VERSION", "10.3.0")]
    known = _OPTIONS[numbers[0]]
    _banner("RUNNING", numbers)
    options = dict(argument.partition("=")[::2] for argument in arguments)
    if "--help" in options:
        _help(known)
        return 3 if os.environ.get("FAKE_TRTEXEC") == "help" else 0
    try:
        unknown = [name for name in options if name not in known]
        if unknown or not options.keys() & {"--onnx", "--loadEngine"}:
            _help(known)
            raise ToolError(*[f"Unknown option: {name} {options[name]}" for name in unknown])
        _misbehave()
        if "--loadEngine" in options:
            _infer(options, numbers)
        else:
            _build(options, numbers)
    except ToolError as error:
        for line in error.lines:
            _say("E", line)
        _banner("FAILED", numbers)
        return 1
    _banner("PASSED", numbers)
    return 0


def _misbehave():
    how = os.environ.get("FAKE_TRTEXEC")
    _say("W", "[TRT] CUDA lazy loading is not enabled. Enabling it can reduce memory usage.")
    if how == "hang":
        time.sleep(60)
    if how == "cuda":
        print("Cuda failure: no CUDA-capable device is detected", file=sys.stderr, flush=True)
    if how in ("cuda", "crash"):
        os.abort()
    if how == "refuse":
        raise ToolError(
            '[TRT] ModelImporter.cpp:771: While parsing node number 3 [Wobble -> "logits"]:',
            "[TRT] ModelImporter.cpp:777: ERROR: builtin_op_importers.cpp:5402 In function "
            'importFallbackPluginImporter:\n[8] Assertion failed: creator && "Plugin not found"',
            *_NOT_BUILT,
        )


_NOT_BUILT = ("Failed to create engine from model or file.", "Engine set up failed")


def _build(options, numbers):
    import numpy as np
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(options["--onnx"])
    except Exception as error:
        raise ToolError(f"Error[3]: In node -1 (parseFromFile): {error}", *_NOT_BUILT) from error
    flags = [name[2:].upper() for name in sorted(options.keys() & _WEAK)]
    quantized = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    typed = numbers[0] >= 11
    if quantized and not typed and "INT8" not in flags:
        raise ToolError(
            "Error[4]: Int8 precision has been set for a layer or layer output, but int8 is not "
            "configured in the builder",
            *_NOT_BUILT,
        )
    pool = options.get("--memPoolSize", "workspace:0")
    if not pool.startswith("workspace:") or not pool[10:].isdigit():
        raise ToolError(f"Unknown memory pool: {pool}")
    if os.environ.get("FAKE_TENSORRT_WRONG"):
        for weight in model.graph.initializer:
            if weight.data_type == onnx.TensorProto.FLOAT:
                worse = numpy_helper.to_array(weight) * np.float32(1.0002)
                weight.CopyFrom(numpy_helper.from_array(worse, weight.name))
    if os.environ.get("FAKE_TENSORRT_SHORT"):
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
        for line in _plans().SKIPPED[numbers[0]] * len(convolutions):
            _say("W", f"[TRT] {line}")
    if "--timingCacheFile" in options:
        Path(options["--timingCacheFile"]).write_bytes(b"timings")
    record = {
        "version": ".".join(map(str, numbers)),
        "capability": os.environ.get("FAKE_CUDA_CAPABILITY", "8.7"),
        "flags": sorted(flags if "--noTF32" in options else [*flags, "TF32"]),
        "typed": typed,
        "name": model.graph.name,
        "workspace": int(pool[10:]) << 20 or None,
        "profile": {},
    }
    plan = _plans().write(numbers, record, model.SerializeToString())
    how = os.environ.get("FAKE_TRTEXEC")
    if "--saveEngine" in options and how != "nothing":
        Path(options["--saveEngine"]).write_bytes(b"" if how == "empty" else plan)
    if how == "late":
        raise ToolError("Could not write to output file: No space left on device", *_NOT_BUILT)
    if "--skipInference" not in options:
        raise ToolError("this stand-in does not time engines; add --skipInference")
    _say("I", "Skipped inference phase since --skipInference is added.")


def _split(text):
    """Return the texts before and after the last colon."""
    if "," in text or "'" in text:
        raise ToolError(f"Found invalid number of 's when parsing {text}")
    name, _, value = text.rpartition(":")
    return name, value


def _infer(options, numbers):
    import numpy as np

    plans = _plans()
    try:
        record, model = plans.read(Path(options["--loadEngine"]).read_bytes(), numbers)
    except plans.PlanError as error:
        code, message = error.args
        raise ToolError(
            f"Error[{code}]: {message}", "Engine deserialization failed", "Got invalid engine!",
            "Inference set up failed",
        ) from error  # fmt: skip
    session = plans.session(model, record)
    (taken,) = session.get_inputs()
    count = int(np.prod(taken.shape))
    dtype = np.dtype(_ELEMENTS[taken.type])
    values = np.zeros(count, dtype)
    if "--loadInputs" in options:
        name, file = _split(options["--loadInputs"])
        if name != taken.name:
            raise ToolError(
                f'Cannot find input tensor with name "{name}" in the engine bindings! Please make '
                "sure the input tensor names are correct.",
                "Invalid tensor names found in --loadInputs flag.",
                "Inference set up failed",
            )
        values = np.fromfile(file, dtype)
        if values.size != count:
            print("terminate called after throwing an instance of 'std::invalid_argument'")
            os.abort()
    end = " is created." if numbers[0] < 11 else f" and type {dtype} is created."
    shape = "x".join(map(str, taken.shape))
    _say("I", f"Input binding for {taken.name} with dimensions {shape}{end}")
    outputs = session.run(None, {taken.name: values.reshape(taken.shape)})
    if "--exportOutput" in options and os.environ.get("FAKE_TRTEXEC") != "nothing":
        names = [each.name for each in session.get_outputs()]
        text = _exported(dict(zip(names, (_computed(each, record) for each in outputs))))
        Path(options["--exportOutput"]).write_text(text)


def _computed(values, record):
    """Return numbers rounded to the GPU's lower precisions."""
    import numpy as np

    if "FP16" in record["flags"]:
        return values.astype(np.float16)
    if "TF32" in record["flags"]:
        # The last 13 of the 23 bits are dropped.
        return (values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    return values


def _exported(outputs):
    """Return the outputs as sampleReporting.cpp's exportJSONOutput prints them."""
    how = os.environ.get("FAKE_TRTEXEC")
    if how == "garbled":
        return '[\n  { "name" : "logits"\n  , "dimensions" : "1x'
    text, start = "[\n", "  "
    for name, values in outputs.items():
        numbers = [f"{value:g}" for value in values.ravel().tolist()]
        if how == "nan":
            numbers[:2] = ["-nan", "-inf"]
        shape = "x".join(map(str, values.shape))
        text += f'{start}{{ "name" : "{name}"\n  , "dimensions" : "{shape}"\n'
        text += f'  , "values" : [ {", ".join(numbers)} ]\n  }}\n'
        start = ", "
    return text + "]\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
