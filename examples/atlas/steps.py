"""The steps of build_mindir.sh, build_om.sh and run_camera.sh for which r2p-edge has no verb.

steps.py name MODEL.onnx TARGET            the model's name; fails where it cannot be prepared
steps.py shape MODEL.onnx                  its input's shape, once it is, as ATC wants it
steps.py check MODEL.onnx TARGET           fails where the chip cannot run it
steps.py mindir MODEL.onnx OUT SOC TARGET  converts it for a chip, whatever the target's usual
steps.py sidecar MODEL.onnx OM SOC TARGET  writes OM.json, with which OM can be opened
steps.py chip MODEL                        the chip that a model was built for, or nothing
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import ModelError, R2PError


def name(model: str, target: str) -> None:
    spec = open_artifact(model).spec
    if spec.precision != "fp32" or spec.input.dtype != "float32":
        raise ModelError(
            f"{model} is {spec.precision} and takes {spec.input.dtype}, but ATC needs an fp32 "
            "model that takes float32; export it again from the checkpoint with --input float32"
        )
    if spec.graph == "conv2d" and target != "ascend310b":
        raise ModelError(
            f"{model} has no 3-D convolutions, which {target} runs the model with; export it "
            "again from the checkpoint without --graph"
        )
    print(spec.name)


def shape(model: str) -> None:
    spec = open_artifact(model).spec
    print(f"{spec.input.name}:{','.join(map(str, spec.input_shape))}")


def check(model: str, target: str) -> None:
    from r2p_edge.export.graph.model import load_onnx
    from r2p_edge.export.graph.operators import require_ops

    require_ops(load_onnx(Path(model)), target, precision="fp16")


def mindir(model: str, path: str, soc: str, target: Any) -> None:
    from r2p_edge.export.targets.mindspore_lite.config import converter_config
    from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx

    config = converter_config({"acl_init_options": {"ge.socVersion": soc}})
    spec = mindspore_lite_from_onnx(model, path, device=target, config=config)
    verified = "not verified: this machine cannot run it" if spec.parity is None else "verified"
    print(f"{path}: {spec.precision} for {soc}, {verified}")


def sidecar(model: str, path: str, soc: str, target: str) -> None:
    from r2p_edge.artifact.sidecar import write_sidecar

    made_for = {"device": target, "chip": soc, "converter": "atc"}
    spec = open_artifact(model).spec
    write_sidecar(path, spec.replace(precision="fp16", target=made_for, parity=None))


def chip(model: str) -> None:
    print((open_artifact(model).spec.target or {}).get("chip", ""))


if __name__ == "__main__":
    verbs = (name, shape, check, mindir, sidecar, chip)
    try:
        {verb.__name__: verb for verb in verbs}[sys.argv[1]](*sys.argv[2:])
    except R2PError as error:
        print(f"steps.py: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
