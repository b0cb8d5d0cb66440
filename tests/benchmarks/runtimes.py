"""Time of each runtime for one clip: PyTorch, ONNX Runtime, OpenVINO, MindSpore and its Lite.

    python tests/benchmarks/runtimes.py [--json] [--rounds 15] [--depth 18 34]

R(2+1)D of full size with random weights, batch 1, 16x112x112, in every precision and graph form
that a runtime has. Each runs in a process of its own, because their thread pools disturb each
other, and they take turns, so that what slows the machine for a while slows all of them. What is
not installed is listed as refused. MindSpore Lite 2.0 is in a Python 3.7 (tests/helpers/
real_mindspore_lite), where its time is taken, without the way of the arrays there and back.

`predict(array)` on OpenVINO is held against the bare `infer`, both in one process, and OpenVINO in
a process that has a MindSpore model open against OpenVINO in one that has not.
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
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from _harness import interleaved, machine

from r2p_edge import Predictor
from r2p_edge.errors import MissingDependencyError
from r2p_edge.export.targets.mindspore.export import mindspore_from_onnx
from r2p_edge.export.targets.mindspore_lite.export import mindspore_lite_from_onnx
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.runtimes import runtime_type

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from networks import spec_for
from real_mindspore_lite import python37, real_lite
from requirements import import_torchvision

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BAR = 1.02  # of predict(array) over the bare infer
MINDSPORE_BAR = 4.0  # of MindSpore's better graph form over ONNX Runtime
CLIP = np.random.default_rng(0).integers(0, 256, (16, 112, 112, 3), np.uint8)
SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the libraries


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
    # MindSpore must not be loaded where OpenVINO is measured in this process.
    with ProcessPoolExecutor(1, SPAWN) as pool, contextlib.suppress(MissingDependencyError):
        pool.submit(export_mindspore, folder).result()
    if python37() is not None:
        with ProcessPoolExecutor(1, SPAWN) as pool:
            pool.submit(export_lite, folder).result()


def export_lite(folder: Path) -> None:
    with real_lite():
        mindspore_lite_from_onnx(folder / "conv2d.onnx", folder / "lite.mindir")


def export_mindspore(folder: Path) -> None:
    for graph in ("conv3d", "conv2d"):
        mindspore_from_onnx(folder / f"{graph}.onnx", folder / f"{graph}.mindir")


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


def mindspore(folder: Path, file: str) -> Callable[[], object]:
    runtime_type("mindspore").library()  # says that it is not installed; the file is missing then
    # MindSpore Lite would be the default.
    model = Predictor(folder / file, runtime="mindspore")
    return lambda: model._runtime.run(CLIP[None])


def lite(folder: Path) -> Callable[[], object]:
    """Return a function that gives the seconds that the library itself has taken for a run."""
    _open.append(opened := contextlib.ExitStack())  # for as long as the process lives
    opened.enter_context(real_lite())
    from mindspore_lite import library_seconds

    model = Predictor(folder / "lite.mindir", runtime="mindspore_lite")

    def run() -> object:
        before = library_seconds()
        model._runtime.run(CLIP[None])
        return library_seconds() - before

    return run


def beside_mindspore(folder: Path, file: str) -> Callable[[], object]:
    other = mindspore(folder, "conv3d.mindir")
    other()
    _open.append(other)
    return runtime(folder, file)


_open: list[object] = []  # models that a process keeps and does not run

Contenders = Mapping[str, tuple[Callable[..., Callable[[], object]], tuple[str, ...]]]
"""Name -> what makes, of a folder and these arguments, the function to be measured."""

CONTENDERS: Contenders = {
    "PyTorch eager fp32": (eager, ()),
    "ONNX Runtime fp32 conv3d": (runtime, ("conv3d.onnx",)),
    "ONNX Runtime fp32 conv2d": (runtime, ("conv2d.onnx",)),
    "OpenVINO fp32 conv3d": (runtime, ("conv3d.xml",)),
    "OpenVINO fp32 conv2d": (runtime, ("conv2d.xml",)),
    "OpenVINO bf16 conv3d": (runtime, ("conv3d.xml", "bf16")),
    "OpenVINO bf16 conv2d": (runtime, ("conv2d.xml", "bf16")),
    "MindSpore fp32 conv3d": (mindspore, ("conv3d.mindir",)),
    "MindSpore fp32 conv2d": (mindspore, ("conv2d.mindir",)),
    "MindSpore Lite fp32 conv2d": (lite, ()),
}

NEIGHBOURS: Contenders = {
    "without MindSpore": (runtime, ("conv3d.xml",)),
    "beside MindSpore": (beside_mindspore, ("conv3d.xml",)),
}


def serve(connection, contenders: Contenders, name: str, folder: Path) -> None:
    """A contender's process: answers each request with the milliseconds of one inference."""
    make, arguments = contenders[name]
    try:
        run = make(folder, *arguments)
        run()
    except Exception as error:
        connection.send(str(error))
        return
    connection.send(None)
    while connection.recv():
        start = time.perf_counter_ns()
        own = run()
        taken = (time.perf_counter_ns() - start) / 1e6
        connection.send(own * 1e3 if isinstance(own, float) else taken)


class Contender:
    """One process, and what is said to it. `refusal` tells why it cannot take part."""

    def __init__(self, contenders: Contenders, name: str, folder: Path) -> None:
        self._connection, theirs = SPAWN.Pipe()
        arguments = (theirs, contenders, name, folder)
        self._process = SPAWN.Process(target=serve, args=arguments, daemon=True)
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


def race(
    contenders: Contenders, folder: Path, rounds: int
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Milliseconds of every contender, and the reason of each that cannot take part."""
    started = {name: Contender(contenders, name, folder) for name in contenders}
    running = {name: each for name, each in started.items() if each.refusal is None}
    times: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(rounds):
        for name, contender in running.items():
            times[name].append(contender())
    for contender in started.values():
        contender.close()
    return times, {name: each.refusal for name, each in started.items() if each.refusal is not None}


def side_by_side(folder: Path, rounds: int) -> dict[str, object]:
    """Medians of every contender, and how they compare."""
    times, refused = race(CONTENDERS, folder, rounds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    base = medians["PyTorch eager fp32"]
    return {
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "refused": refused,
        "times_pytorch": {name: round(base / value, 2) for name, value in medians.items()},
        "mindspore_over_onnxruntime": mindspore_over_onnxruntime(medians),
    }


def mindspore_over_onnxruntime(medians: dict[str, float]) -> dict[str, object] | None:
    """MindSpore's better graph form over ONNX Runtime; None where MindSpore is not installed."""
    found = [value for name, value in medians.items() if name.startswith("MindSpore fp32")]
    if not found:
        return None
    ratio = min(found) / medians["ONNX Runtime fp32 conv3d"]
    return {"ratio": round(ratio, 2), "bar": MINDSPORE_BAR, "met": ratio <= MINDSPORE_BAR}


def neighbourhood(folder: Path, rounds: int) -> dict[str, object]:
    """OpenVINO beside an open MindSpore model over OpenVINO alone, each in its own process.

    The quartiles are of the rounds' own ratios: between them is what the machine's noise makes of
    a ratio, and a change shows where 1 is not.
    """
    times, refused = race(NEIGHBOURS, folder, rounds)
    if refused:
        return {"refused": refused}
    alone, beside = times["without MindSpore"], times["beside MindSpore"]
    ratios = [after / before for before, after in zip(alone, beside)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "median_ms": {name: round(statistics.median(found), 1) for name, found in times.items()},
        "ratio": round(statistics.median(beside) / statistics.median(alone), 3),
        "p25": round(low, 3),
        "p75": round(high, 3),
        "unchanged_within_noise": low <= 1 <= high,
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
            found = side_by_side(Path(name), options.rounds)
            found["predictor_on_openvino"] = overhead(Path(name), 2 * options.rounds)
            found["openvino_beside_mindspore"] = neighbourhood(Path(name), 2 * options.rounds)
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
        if held := found["mindspore_over_onnxruntime"]:
            print(f"MindSpore over ONNX Runtime: {held['ratio']:.2f} (at most {held['bar']})")
        held = found["openvino_beside_mindspore"]
        if "ratio" in held:
            spread = f"half of the rounds from {held['p25']:.3f} to {held['p75']:.3f}"
            print(f"OpenVINO beside MindSpore over alone: {held['ratio']:.3f}, {spread}")


if __name__ == "__main__":
    main()
