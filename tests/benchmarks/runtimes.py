"""What each runtime takes for one clip, side by side: PyTorch, ONNX Runtime, OpenVINO.

    python tests/benchmarks/runtimes.py [--json] [--rounds 15] [--depth 18 34]

R(2+1)D of full size with random weights, batch 1, 16x112x112, in every precision and graph form
that a runtime has. Each runs in a process of its own, because their thread pools disturb each
other, and they take turns, so that what slows the machine for a while slows all of them.
`predict(array)` on OpenVINO is held against the bare `infer`, both in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _harness import interleaved, machine

from r2p_edge import Predictor
from r2p_edge.export.to_onnx import onnx_from_checkpoint
from r2p_edge.export.to_openvino import openvino_from_onnx

sys.path.insert(0, str(Path(__file__).parents[1]))
from networks import spec_for
from requirements import import_torchvision

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BAR = 1.02  # of predict(array) over the bare infer
CLIP = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)


def network(depth: int) -> object:
    """torchvision's R(2+1)D with 101 classes; it has no constructor for the 34 layers."""
    import torch

    video = import_torchvision().models.video.resnet
    torch.manual_seed(0)
    return video.VideoResNet(
        video.BasicBlock, [video.Conv2Plus1D] * 4, BLOCKS[depth], video.R2Plus1dStem, 101
    ).eval()


def export(depth: int, folder: Path) -> None:
    """Writes the network's weights and every artifact of them into `folder`."""
    import torch

    checkpoint = folder / "network.pth"
    torch.save(network(depth).state_dict(), checkpoint)
    spec = spec_for(101, frames=16, size=112)
    for graph in ("conv3d", "conv2d"):
        onnx_from_checkpoint(checkpoint, spec, folder / f"{graph}.onnx", graph=graph)
        openvino_from_onnx(folder / f"{graph}.onnx", folder / f"{graph}.xml")


def eager(folder: Path) -> Callable[[], object]:
    import torch

    weights = torch.load(folder / "network.pth", weights_only=True)
    depth = 34 if "layer1.2.conv1.0.0.weight" in weights else 18
    module = network(depth)
    module.load_state_dict(weights)
    tensor = torch.from_numpy(CLIP).permute(3, 0, 1, 2)[None].float().div(255).contiguous()

    def run() -> object:
        with torch.inference_mode():
            return module(tensor)

    return run


def runtime(folder: Path, file: str, precision: str | None = None) -> Callable[[], object]:
    model = Predictor(folder / file, precision=precision)
    return lambda: model._runtime.run(CLIP[None])


CONTENDERS: dict[str, tuple[Callable[..., Callable[[], object]], tuple[str, ...]]] = {
    "PyTorch eager fp32": (eager, ()),
    "ONNX Runtime fp32 conv3d": (runtime, ("conv3d.onnx",)),
    "ONNX Runtime fp32 conv2d": (runtime, ("conv2d.onnx",)),
    "OpenVINO fp32 conv3d": (runtime, ("conv3d.xml",)),
    "OpenVINO fp32 conv2d": (runtime, ("conv2d.xml",)),
    "OpenVINO bf16 conv3d": (runtime, ("conv3d.xml", "bf16")),
    "OpenVINO bf16 conv2d": (runtime, ("conv2d.xml", "bf16")),
}


def serve(connection, name: str, folder: Path) -> None:
    """A contender's process: answers each request with the milliseconds of one inference."""
    make, arguments = CONTENDERS[name]
    try:
        run = make(folder, *arguments)
        run()
    except Exception as error:
        connection.send(str(error))
        return
    connection.send(None)
    while connection.recv():
        start = time.perf_counter_ns()
        run()
        connection.send((time.perf_counter_ns() - start) / 1e6)


class Contender:
    """One process, and what is said to it. `refusal` tells why it cannot take part."""

    def __init__(self, name: str, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, name, folder), daemon=True)
        self._process.start()
        theirs.close()  # or the end of a process that crashes would not be seen
        try:
            self.refusal = self._connection.recv()
        except EOFError:
            self.refusal = "its process ended"

    def __call__(self) -> float:
        time.sleep(0.02)  # for the threads of the one before to fall asleep
        self._connection.send(True)
        return float(self._connection.recv())

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # of one that refused
            self._connection.send(False)
        self._process.join()


def race(folder: Path, rounds: int) -> dict[str, object]:
    """Medians of every contender, and the reason of each that cannot take part."""
    contenders = {name: Contender(name, folder) for name in CONTENDERS}
    running = {name: each for name, each in contenders.items() if each.refusal is None}
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, contender in running.items():
            times[name].append(contender())
    for contender in contenders.values():
        contender.close()
    return {
        "median_ms": {name: round(statistics.median(found), 1) for name, found in times.items()},
        "refused": {
            name: each.refusal for name, each in contenders.items() if each.refusal is not None
        },
    }


def overhead(folder: Path, rounds: int) -> dict[str, object]:
    """`predict(array)` over the bare `infer` of the same file."""
    import openvino

    core = openvino.Core()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(folder / "conv3d.xml", "CPU", config).create_infer_request()
    with Predictor(folder / "conv3d.xml") as predictor:
        milliseconds = interleaved(
            {
                "infer": lambda: request.infer([CLIP[None]]),
                "predict(array)": lambda: predictor.predict(CLIP),
            },
            rounds,
        )
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    ratio = medians["predict(array)"] / medians["infer"]
    return {
        "median_ms": {name: round(value, 2) for name, value in medians.items()},
        "ratio": round(ratio, 4),
        "bar": BAR,
        "met": ratio <= BAR,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default 15)")
    parser.add_argument("--depth", type=int, nargs="+", choices=BLOCKS, default=list(BLOCKS))
    options = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "rounds": options.rounds}
    for depth in options.depth:
        with tempfile.TemporaryDirectory() as name:
            export(depth, Path(name))
            found = race(Path(name), options.rounds)
            base = found["median_ms"]["PyTorch eager fp32"]
            found["times_pytorch"] = {
                name: round(base / value, 2) for name, value in found["median_ms"].items()
            }
            found["predictor_on_openvino"] = overhead(Path(name), 2 * options.rounds)
            report[f"r2plus1d_{depth}"] = found
    if options.json:
        print(json.dumps(report))
        return
    for depth in options.depth:
        found = report[f"r2plus1d_{depth}"]
        print(f"R(2+1)D-{depth}")
        for name, value in found["median_ms"].items():
            print(f"{value:9.1f} ms  {found['times_pytorch'][name]:5.2f}x  {name}")
        for name, reason in found["refused"].items():
            print(f"             refused  {name}: {reason}")
        held = found["predictor_on_openvino"]
        print(f"predict(array) over infer: {held['ratio']:.3f} (at most {held['bar']})")


if __name__ == "__main__":
    main()
