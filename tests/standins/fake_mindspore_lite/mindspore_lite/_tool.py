"""Files that the stand-in's converter writes and its runtime reads: a JSON line, an ONNX model.

FAKE_LITE_CONVERTER makes the converter fail: "exit1", "crash", "abort", "hang", "nothing" (it
reports success and writes no file), "empty", or "late", after the file is written; "worker", by a
signal, while a worker that it has started holds its output; "python", where CANN's compiler cannot
be imported; "conv3d", if the model has 3-D convolutions, which the parser of 2.0 refuses for every
target.
FAKE_LITE_WRONG makes it write another model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from ._limits import has_conv3d, load_refusal, parser_refusal
from ._quant import QuantError, quantize

MAGIC = b"FAKE MINDIR "
VERSION = tuple(int(part) for part in os.environ.get("FAKE_LITE_VERSION", "2.7.0").split(".")[:2])
DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}

# tools/converter/config_parser/config_file_parser.cc, the sections that are checked; what it does
# not name is passed over.
_SECTIONS = {
    "data_preprocess_param": {
        *("calibrate_path", "calibrate_size", "input_type", "image_to_format"),
        *("normalize_mean", "normalize_std", "resize_width", "resize_height"),
        *("resize_method", "center_crop_width", "center_crop_height"),
    },
    "common_quant_param": {
        *("quant_type", "bit_num", "min_quant_weight_size", "min_quant_weight_channel"),
        *("skip_quant_node", "debug_info_save_path", "enable_encode", "workspace"),
    },
    "mixed_bit_weight_quant_param": {"init_scale", "auto_tune", "use_cv_data", "max_iterations"},
    "full_quant_param": {
        *("activation_quant_method", "bias_correction", "target_device", "per_channel"),
        *("smooth_alpha", "enable_smooth_shift"),
    },
    "registry": {"plugin_path", "disable_fusion", "fusion_blacklists"},
    "acl_option_cfg_param": {
        *("device_id", "input_format", "input_shape_vector", "input_shape", "output_type"),
        *("precision_mode", "op_select_impl_mode", "fusion_switch_config_file_path"),
        *("dynamic_batch_size", "buffer_optimize", "insert_op_config_file_path"),
        *("dynamic_image_size", "dynamic_dims", "aoe_mode", "custom_opp_path"),
    },
    "micro_param": {
        *("target", "codegen_mode", "debug_mode", "support_parallel", "enable_micro"),
        *("save_path", "project_name", "keep_original_weight", "changeable_weights_name"),
        *("inputs_shape", "dynamic_dim_params"),
    },
    "weight_quant_param": {
        *("dequant_strategy", "update_mindir", "max_segments", "per_channel"),
        *("bias_correction", "quant_strategy"),
    },
    "cpu_option_cfg_param": {"architecture", "instruction"},
    "transform_quant_param": {"export_precision_mode"},
    "dynamic_quant_param": {"quant_strategy"},
    "om_converter": {
        f"{end}_{what}_vector" for end in ("input", "output") for what in ("name", "shape")
    }
    | {"input_data_type_vector", "output_data_type_vector"},
}


class ToolError(Exception):
    """The reason that the real one writes to stderr and nowhere else."""


def parse_config(text):
    """Return {section: {key: value}} of an INI text, read as the real one reads it."""
    found, section = {}, "DEFAULT"
    for raw in text.splitlines():
        line = raw.replace(" ", "").replace('"', "")
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line[1:-1]
            continue
        parts = [part for part in line.split("=") if part]
        if len(parts) != 2:
            raise ToolError(f"split vector size != 2, {line} is illegal.")
        found.setdefault(section, {})[parts[0]] = parts[1]
    for name, entries in found.items():
        for key in entries:
            if name in _SECTIONS and key not in _SECTIONS[name]:
                raise ToolError(f"INPUT ILLEGAL: `{key}` is not supported in [{name}]")
    return found


def convert(kind, source, output, optimize, config):
    _misbehave()
    sections = parse_config(Path(config).read_text()) if config else {}
    chip = None
    if optimize == "ascend_oriented":
        chip = sections.get("acl_init_options", {}).get("ge.socVersion")
        chip = chip or os.environ.get("FAKE_LITE_CHIP")
        if chip is None:
            raise ToolError("Get soc version failed.")
    if kind != "ONNX":
        raise ToolError(f"{kind} is no framework of this stand-in")
    model = onnx.load(source)
    refuses = os.environ.get("FAKE_LITE_CONVERTER") == "conv3d"
    if refusal := parser_refusal(model, (2, 0) if refuses else VERSION):
        raise ToolError(refusal)
    made = {"optimize": optimize, "chip": chip, "config": sections}
    if sections.get("common_quant_param", {}).get("quant_type") == "FULL_QUANT":
        if VERSION < (2, 1):  # for every model, on the CPU; it is built to be calibrated
            raise ToolError("LoadMindIR] ParseFromArray failed.")
        if has_conv3d(model):
            raise ToolError("Build model failed.")
        try:
            made["ranges"] = quantize(model, sections)
        except QuantError as error:
            raise ToolError(str(error)) from error
    if os.environ.get("FAKE_LITE_WRONG"):
        _damage(model)
    header = json.dumps(made).encode()
    content = MAGIC + header + b"\n" + model.SerializeToString()
    if os.environ.get("FAKE_LITE_CONVERTER") == "empty":
        content = b""
    written = Path(f"{output}.mindir")
    if os.environ.get("FAKE_LITE_CONVERTER") == "late":  # part of the file stays
        written.write_bytes(content[: len(content) // 2])
        raise ToolError(f"SaveProtoToFile] Failed to write the mindir proto to file {written}")
    if os.environ.get("FAKE_LITE_CONVERTER") != "nothing":
        written.write_bytes(content)
        written.chmod(0o400)
    print("CONVERT RESULT SUCCESS:0")


def _misbehave():
    how = os.environ.get("FAKE_LITE_CONVERTER")
    if how == "hang":
        time.sleep(60)
    if how == "exit1":
        raise ToolError("Unsupported to convert ops: [Wobble]")
    if how == "crash":
        # The real one prints this to stdout as it dies.
        print("encounter an unknown error, please verify the input model file", flush=True)
        os._exit(1)
    if how == "abort":
        os.abort()
    if how == "worker":
        # As TBE's, which inherit what they are not told to close.
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
        print("E40024: Failed to call Python Func: BrokenPipeError", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "python":
        raise ToolError(
            "EC0010: Failed to import Python module [ModuleNotFoundError: No module named 'scipy']"
        )


def _damage(model):
    """Make the last constant of floats two parts in ten thousand larger."""
    for weight in reversed(model.graph.initializer):
        if weight.data_type == onnx.TensorProto.FLOAT:
            weight.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(weight) * 1.0002, weight.name)
            )
            return


def session(path, context):
    """Return the ONNX Runtime session of a file on a device, and whether it computes in fp16."""
    content = Path(path).read_bytes()
    if not content.startswith(MAGIC):
        raise ToolError("Unsupported model: no MindIR")
    header, _, model = content[len(MAGIC) :].partition(b"\n")
    made = json.loads(header)
    device = context.target[0].lower()
    if (made["chip"] is not None) != (device == "ascend"):
        raise ToolError(f"the graph was made for {made['chip'] or 'cpu'}, not {device}")
    if device == "ascend" and made["chip"] != os.environ.get("FAKE_LITE_CHIP"):
        raise ToolError("load model from data failed, the chips differ")
    # The nodes by which the stand-in rounds int8 are no nodes of the model.
    own = device == "cpu" and "ranges" not in made
    refusal = load_refusal(onnx.load_from_string(model)) if own else None
    if refusal:
        raise ToolError(refusal)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = context.cpu.thread_num
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    half = device == "ascend" or context.cpu.precision_mode == "preferred_fp16"
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]), half


_FLAGS = {
    *("fmk", "modelFile", "outputFile", "weightFile", "inputDataType", "outputDataType"),
    *("configFile", "fp16", "inputShape", "inputDataFormat", "outputDataFormat", "infer"),
    *("device", "saveType", "optimize", "optimizeTransformer"),
}


def main(arguments):
    """Run `converter_lite` (converter_flags.cc and main.cc) and return the exit code."""
    values = {"optimize": "general", "configFile": "", "saveType": "MINDIR"}
    for argument in arguments:
        flag, _, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or flag not in _FLAGS:
            print(f"Unknown flag: {flag}\nUsage: converter_lite [options]", file=sys.stderr)
            return 1
        values[flag] = value
    optimize = "general" if values.get("device") else values["optimize"]
    try:
        convert(
            values["fmk"],
            values["modelFile"],
            values["outputFile"],
            optimize,
            values["configFile"],
        )
    except ToolError as error:
        print(f"[ERROR] LITE: {error}\n[WARNING] LITE: cleaning up", file=sys.stderr)
        print("Convert failed. Ret: Common error code.")
        return 255
    return 0
