"""RKNN-Toolkit2 at work, as a program of its own that the toolkit's Python runs.

    python toolkit_program.py build|simulate FOLDER

It imports nothing of this package, because the toolkit wants a NumPy, an onnx and a protobuf of its
own. FOLDER has settings.json: {"chip", "mean", "std", "algorithm"}, the first of these as the
toolkit names it, mean and std of the pixels for each channel. With it is model.onnx, and the list
of clips to calibrate on for int8, dataset.txt; or what the toolkit has made of these: model.model,
model.data and model.quantization.cfg. The toolkit leaves further files there.

"build" writes model.rknn, and for int8 these three. "simulate" then answers clips: it reads as many
bytes as an input has from stdin, and writes a line with the number of outputs and these in float32
to stdout, until stdin ends. Before that each writes a line of JSON to stdout. What the toolkit
prints goes to stderr. Both end with the process that started them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

STEP_ONE = ("model.model", "model.data", "model.quantization.cfg")


def check_code(code: int, step: str) -> None:
    """Raise RuntimeError unless a call of the toolkit returned 0."""
    if code != 0:
        raise RuntimeError(f"{step} returned {code}")


def write_step_one(settings: dict[str, Any]) -> None:
    """Write the three files of the first step of a quantisation."""
    rknn = configured(settings)
    check_code(rknn.load_onnx("model.onnx"), "load_onnx")
    check_code(rknn.hybrid_quantization_step1(dataset="dataset.txt"), "hybrid_quantization_step1")
    rknn.release()


def configured(settings: dict[str, Any]) -> Any:
    """Return an RKNN object with the settings of a build."""
    from rknn.api import RKNN

    # The table of layers by engine is in the verbose log alone.
    rknn = RKNN(verbose=True)
    code = rknn.config(
        target_platform=settings["chip"],
        mean_values=[settings["mean"]],
        std_values=[settings["std"]],
        quantized_algorithm=settings.get("algorithm", "normal"),
    )
    check_code(code, "config")
    return rknn


def built(settings: dict[str, Any]) -> Any:
    """Return an RKNN object that has built the model."""
    from rknn.api import RKNN

    if os.path.isfile(STEP_ONE[2]):
        rknn = RKNN(verbose=True)
        check_code(rknn.hybrid_quantization_step2(*STEP_ONE), "hybrid_quantization_step2")
        return rknn
    rknn = configured(settings)
    check_code(rknn.load_onnx("model.onnx"), "load_onnx")
    check_code(rknn.build(do_quantization=False), "build")
    return rknn


def simulate(rknn: Any, clips: IO[bytes], answers: IO[bytes]) -> None:
    """Answer clips until there are no more."""
    import numpy as np

    check_code(rknn.init_runtime(), "init_runtime")
    header = json.loads(clips.readline())
    shape, size = header["shape"], int(np.prod(header["shape"]))
    while True:
        content = clips.read(size)
        if len(content) < size:
            return
        clip = np.frombuffer(content, np.uint8).reshape(shape)
        outputs = rknn.inference(inputs=[clip], data_format=["nhwc"])
        if outputs is None:
            raise RuntimeError("inference returned nothing")
        output = np.ascontiguousarray(outputs[0], np.float32)
        answers.write(b"%d\n" % output.size + output.tobytes())
        answers.flush()


def end_with(parent: int) -> None:
    """Wait until the process that started this one is gone, and kill this one's group.

    A build takes minutes, reads nothing meanwhile, and its folder goes with the parent.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def work(what: str, folder: str) -> None:
    """Build or simulate; see the top of this file."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.chdir(folder)
    # The toolkit keeps copies of the model there, and removes none where it ends by a signal, or
    # by the end of this function. It is not imported yet.
    os.environ["TMPDIR"] = str(Path.cwd())
    settings = json.loads(Path("settings.json").read_text())
    if what == "build" and os.path.isfile("dataset.txt"):
        write_step_one(settings)
    rknn = built(settings)
    if what == "build":
        check_code(rknn.export_rknn("model.rknn"), "export_rknn")
    answers.write(b'{"ready": true}\n')
    answers.flush()
    if what == "simulate":
        simulate(rknn, sys.stdin.buffer, answers)
    # The toolkit's destructors may end a process that has done its work by a signal.
    sys.stderr.flush()
    answers.close()
    os._exit(0)


if __name__ == "__main__":
    work(*sys.argv[1:])
