"""The settings of MindSpore Lite's converter: its INI text, and the wrapping of an Ascend `.om`.

Read in mindspore-lite 2.7: tools/converter/config_parser/config_file_parser.cc,
tools/common/parse_config_utils.cc and string_util.cc, tools/converter/parser/om.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from r2p_edge.errors import UsageError
from r2p_edge.spec import ModelSpec

# Keys by section; of [ascend_context] those that SetParamByConfigfile reads.
_KEYS = {
    "common_quant_param": "quant_type bit_num min_quant_weight_size min_quant_weight_channel "
    "skip_quant_node debug_info_save_path enable_encode workspace",
    "data_preprocess_param": "calibrate_path calibrate_size input_type image_to_format "
    "normalize_mean normalize_std resize_width resize_height resize_method center_crop_width "
    "center_crop_height",
    "full_quant_param": "activation_quant_method bias_correction target_device per_channel "
    "smooth_alpha enable_smooth_shift",
    "weight_quant_param": "dequant_strategy quant_strategy per_channel bias_correction "
    "update_mindir max_segments",
    "mixed_bit_weight_quant_param": "init_scale auto_tune use_cv_data max_iterations",
    "dynamic_quant_param": "quant_strategy",
    "transform_quant_param": "export_precision_mode",
    "registry": "plugin_path disable_fusion fusion_blacklists",
    "cpu_option_cfg_param": "architecture instruction",
    "micro_param": "target codegen_mode debug_mode support_parallel enable_micro save_path "
    "project_name keep_original_weight changeable_weights_name inputs_shape dynamic_dim_params",
    "om_converter": "input_name_vector input_shape_vector input_data_type_vector "
    "output_name_vector output_shape_vector output_data_type_vector",
    "acl_option_cfg_param": "device_id input_format input_shape_vector input_shape output_type "
    "precision_mode op_select_impl_mode fusion_switch_config_file_path dynamic_batch_size "
    "buffer_optimize insert_op_config_file_path dynamic_image_size dynamic_dims aoe_mode "
    "custom_opp_path",
    "ascend_context": "input_format precision_mode op_select_impl_mode "
    "fusion_switch_config_file_path buffer_optimize insert_op_config_file_path om_file_path "
    "aoe_mode provider plugin_custom_ops custom_fusion_pattern op_attrs input_shape device_id "
    "output_type inputs_to_variable outputs_to_variable dynamic_dims",
}
_PASSED_ON = ("acl_init_options", "acl_build_options")  # to ACL, which knows the keys

# Names of tools/converter/quantizer/data_distribution.cc; the range of KL is symmetric, that of
# REMOVAL_OUTLIER has 99.98 % of a clip's values, averaged over the clips.
_METHODS = {"minmax": "MAX_MIN", "percentile": "REMOVAL_OUTLIER", "entropy": "KL"}


def converter_config(sections: Mapping[str, Mapping[str, str]]) -> str:
    """Return the converter's INI text.

    The converter refuses an unknown key but ignores an unknown section, so that a misspelled one
    would do nothing.

    Args:
        sections: settings by section and key.

    Raises:
        UsageError: a section or key is unknown, or a value would not survive the tool's parsing:
            it splits lines at = and removes quotes and, in old versions, all blanks.
    """
    lines = []
    for section, entries in sections.items():
        if section not in _KEYS and section not in _PASSED_ON:
            known = ", ".join([*_KEYS, *_PASSED_ON])
            raise UsageError(f"the converter has no section {section!r}; it has {known}")
        lines.append(f"[{section}]")
        for key, value in entries.items():
            if section in _KEYS and key not in _KEYS[section].split():
                known = ", ".join(_KEYS[section].split())
                raise UsageError(f"[{section}] has no key {key!r}; it has {known}")
            if not all(re.fullmatch(r"""[^\s="']+""", text) for text in (key, value)):
                raise UsageError(
                    f"[{section}] {key} is {value!r}, which the converter cannot read; use no "
                    "blanks, quotes and equals signs"
                )
            lines.append(f"{key}={value}")
    return "".join(f"{line}\n" for line in lines)


def full_quant_config(
    spec: ModelSpec,
    folder: str | Path,
    size: int,
    *,
    method: str = "minmax",
    target: Literal["ASCEND"] | None = None,
    bias_correction: bool = True,
) -> str:
    """Return the config of a post-training quantization to INT8, weights per channel.

    Args:
        spec: spec of the model.
        folder: folder of one `.bin` file per clip, the raw bytes of the model's input.
        size: number of clips to use, 1 to 65535.
        method: rule for the range of an activation: "minmax", "percentile" or "entropy".
        target: None for the CPU.
        bias_correction: whether biases make up for the mean error of quantized weights.

    Raises:
        UsageError: an argument is out of range or the converter could not read it.
    """
    if not 1 <= size <= 65535 or method not in _METHODS:
        raise UsageError(
            f"size is {size} and method is {method}; they must be 1 to 65535 and one of "
            f"{', '.join(_METHODS)}"
        )
    name = spec.input.name
    if set(f"{name}{folder}") & set(":,"):
        raise UsageError(
            f"the converter splits {name}:{folder} at colons and commas; use other names"
        )
    full = {
        "activation_quant_method": _METHODS[method],
        "bias_correction": str(bias_correction).lower(),
        "per_channel": "true",
    }
    return converter_config(
        {
            "common_quant_param": {"quant_type": "FULL_QUANT", "bit_num": "8"},
            "data_preprocess_param": {
                "calibrate_path": f"{name}:{folder}",
                "calibrate_size": str(size),
                "input_type": "BIN",
            },
            "full_quant_param": {**full, "target_device": target} if target else full,
        }
    )


def om_wrap_config(spec: ModelSpec, batch: int = 1) -> str:
    """Return the config with which converter_lite wraps an Ascend `.om`; see `om_wrap_command`.

    Args:
        spec: spec of the model.
        batch: clips per call.

    Raises:
        UsageError: the converter could not read a tensor's name.
    """
    if set(spec.input.name + spec.output.name) & set(":,"):
        raise UsageError("the converter splits tensor names at colons and commas; rename them")
    shapes = (batch, *spec.input_shape[1:]), (batch, spec.outputs)
    ends = zip(("input", "output"), (spec.input.name, spec.output.name), shapes)
    entries = {}
    for end, name, shape in ends:
        entries[f"{end}_name_vector"] = name
        entries[f"{end}_shape_vector"] = ",".join(map(str, shape))
        kind = spec.input.dtype if end == "input" else "float32"
        entries[f"{end}_data_type_vector"] = kind.upper()
    return converter_config({"om_converter": entries})


def om_wrap_command(
    source: str | Path, output: str | Path, config: str | Path, program: str = "converter_lite"
) -> list[str]:
    """Return the command that wraps a `.om` file into a `.mindir` for mindspore_lite.

    Args:
        source: the `.om` file, made by ATC.
        output: path of the result, without its suffix.
        config: file with the text of `om_wrap_config`.
        program: the converter.
    """
    files = [f"--modelFile={source}", f"--outputFile={output}", f"--configFile={config}"]
    return [program, "--fmk=OM", "--device=Ascend", *files]
