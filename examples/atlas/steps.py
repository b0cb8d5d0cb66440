"""The steps of build_mindir.sh, build_om.sh and run_camera.sh for which r2p-edge has no verb.

steps.py name MODEL.onnx                   the model's name; fails where it cannot be prepared
steps.py graph MODEL.onnx                  its form, "conv3d" or "conv2d"
steps.py shape MODEL.onnx                  its input's shape, once it is, as ATC wants it
steps.py check MODEL.onnx TARGET           fails where the chip cannot run it
steps.py atc WHAT FOLDER COMMAND...        runs ATC in a folder; fails where it does
steps.py mindir MODEL.onnx OUT SOC TARGET  converts it for a chip, whatever the target's usual
steps.py sidecar MODEL.onnx OM SOC TARGET  writes OM.json, with which OM can be opened
steps.py record FOLDER FILE                adds an artifact to the folder's manifest
steps.py chip MODEL                        the chip that a model was built for, or nothing
steps.py here                              the chip of this machine, or nothing
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from r2p_edge.artifact.open import open_artifact
from r2p_edge.errors import BackendError, ModelError, R2PError

HOURS = 4  # that ATC may take on the slowest board


def name(model: str) -> None:
    spec = open_artifact(model).spec
    if spec.precision != "fp32" or spec.input.dtype != "float32":
        raise ModelError(
            f"{model} is {spec.precision} and takes {spec.input.dtype}, but ATC needs an fp32 "
            "model that takes float32; export it again from the checkpoint with --input float32"
        )
    print(spec.name)


def graph(model: str) -> None:
    print(open_artifact(model).spec.graph or "conv3d")


def shape(model: str) -> None:
    spec = open_artifact(model).spec
    print(f"{spec.input.name}:{','.join(map(str, spec.input_shape))}")


def check(model: str, target: str) -> None:
    from r2p_edge.export.graph.model import load_onnx
    from r2p_edge.export.graph.operators import require_ops

    require_ops(load_onnx(Path(model)), target, precision="fp16")


def atc(what: str, folder: str, *command: str) -> None:
    from r2p_edge.export.targets.mindspore_lite.advice import advice_for
    from r2p_edge.export.targets.program import end_of, run_program

    done = run_program(command, name="atc", timeout=HOURS * 3600, by_hand=command, cwd=Path(folder))
    said = (done.stdout + done.stderr).decode(errors="replace")
    print(said, end="", flush=True)
    # Where the board has another processor its name is part of the file's.
    for written in Path(folder).glob("model_linux_*.om"):
        written.rename(written.with_name("model.om"))
    if done.returncode == 0 and Path(folder, "model.om").is_file():
        return
    end = end_of(done.returncode)
    advice = advice_for(said, end)
    kind = ModelError if advice is None or advice.of_model else BackendError
    text = advice.text if advice else "see what it says above"
    raise kind(f"atc could not compile {what} and {end}; {text}")


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


def record(folder: str, file: str) -> None:
    from r2p_edge.artifact import bundle

    bundle.record(folder, [Path(folder, file)])


def chip(model: str) -> None:
    print((open_artifact(model).spec.target or {}).get("chip", ""))


def here() -> None:
    from r2p_edge.runtimes.ascend import chip_here

    print(chip_here() or "")


if __name__ == "__main__":
    verbs = (name, graph, shape, check, atc, mindir, sidecar, record, chip, here)
    try:
        {verb.__name__: verb for verb in verbs}[sys.argv[1]](*sys.argv[2:])
    except R2PError as error:
        print(f"steps.py: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
