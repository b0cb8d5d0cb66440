"""Gains and costs of int8: latency, likeness to float, and calibration.

    python tests/benchmarks/int8.py [--json] [--videos DIR] [--split FILE] [--num-clips 50]
                                    [--depth 18 34] [--rounds 15] [--calibration] [--motion N]
                                    [--nncf]

R(2+1)D of full size, batch 1, 16x112x112, 101 classes, with random weights and the batch-norm
statistics that clips of UCF101 give them, calibrated on its train clips. What is timed is
`Predictor.predict(array)`, each model in a process of its own, in turns. A chain of int8 matrix
products takes its turn too; its speed is the peak that the int8 models are held against.

`--calibration` tells what calibrating on 50 and on 200 clips takes, and how near each method comes
to float. `--motion` measures each method on the bundled model and N generated clips, with 8-bit
weights and with 7-bit ones. Both take minutes. `--depth` without a number leaves out the rest.
`--nncf` adds what NNCF (`pip install nncf`) makes of the same IR and clips.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from _harness import machine
from runtimes import BLOCKS, CLIP, SPAWN, Contenders, eager, network, race

from r2p_edge import Predictor
from r2p_edge.agreement import agreement
from r2p_edge.artifact.open import open_artifact
from r2p_edge.artifact.openvino_ir import RT_INFO
from r2p_edge.artifact.sidecar import write_sidecar
from r2p_edge.calibration import motion
from r2p_edge.calibration.manifest import Manifest, read_clips, sample_clips
from r2p_edge.calibration.quantize import quantize_onnx
from r2p_edge.calibration.ranges import PASSES
from r2p_edge.calibration.ucf101 import Listing, list_videos
from r2p_edge.export.build import build
from r2p_edge.export.presets import preset
from r2p_edge.export.targets.onnx import onnx_from_checkpoint
from r2p_edge.export.targets.openvino import openvino_from_onnx
from r2p_edge.export.verify.ort_session import open_session, run_session
from r2p_edge.export.verify.synthetic_clips import input_from_clips, normalized
from r2p_edge.video.clip_reader import ClipReader

DATA = Path(os.environ.get("R2P_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPEC = preset("ucf101-mindspore").spec(name="r2plus1d")
PYTORCH_BAR, FP32_BAR = 7.0, 2.3  # of the best int8, and of ONNX Runtime's
FORWARD_BAR, PEAK_BAR, GROWTH_BAR = 3.0, 4.0, 1.05  # of calibration; the second in GiB
COSTS = (("minmax", 50), ("minmax", 200), ("percentile", 50), ("entropy", 50))
STATISTICS_CLIPS = 8  # from which batch norm gets its statistics
HELD_OUT = 50  # most videos that int8 is compared with float on
FORWARD_CLIPS = 50  # that the float model is timed on
WEIGHT_BITS = {8: "cpu", 7: "cpu-avx2"}  # the profiles that have them
# Operands that stay in the cache, and products that take about as long as a model.
SIDE, PRODUCTS = 512, 128

ClipsOf = Callable[[], Iterable[np.ndarray]]


def held_out(listing: Listing, folder: Path) -> np.ndarray:
    """The centre clips of videos that a list does not name, spread over the folder."""
    known = {video.name for video in listing.videos}
    videos = [each for each in list_videos(folder, SPEC.labels).videos if each.name not in known]
    if not videos:
        raise SystemExit(f"{folder} has no video beside those of {listing.split}")
    reader = ClipReader(SPEC)
    chosen = videos[:: math.ceil(len(videos) / HELD_OUT)]
    return np.concatenate([reader.read(video.path).pixels for video in chosen])


def export(depth: int, clips: ClipsOf, folder: Path) -> None:
    """Writes the network's weights and every artifact of them into `folder`."""
    import torch

    module = network(depth)
    give_statistics(module, np.stack(list(itertools.islice(clips(), STATISTICS_CLIPS))))
    torch.save(module.state_dict(), folder / "network.pth")
    onnx_from_checkpoint(folder / "network.pth", SPEC, folder / "fp32.onnx", graph="conv3d")
    quantize_onnx(folder / "fp32.onnx", folder / "int8.onnx", clips)
    for precision in ("fp32", "int8"):
        openvino_from_onnx(folder / f"{precision}.onnx", folder / f"{precision}.xml")


def nncf_from_openvino(source: Path, clips: ClipsOf, path: Path) -> None:
    """Writes the int8 IR that NNCF makes of a float one, as it does by default for CPUs."""
    import nncf
    import openvino

    listed = list(clips())
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        quantised = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(listed, lambda clip: clip[None]),
            subset_size=len(listed),
            target_device=nncf.TargetDevice.CPU,
        )
    spec = open_artifact(source).spec.replace(precision="int8")
    quantised.set_rt_info(spec.to_json(), list(RT_INFO))
    openvino.save_model(quantised, path, compress_to_fp16=False)
    write_sidecar(path, spec)


def give_statistics(module, clips: np.ndarray) -> None:
    """Gives batch norm the mean and variance of what it sees, as training would.

    With those of a fresh module activations would grow from block to block.
    """
    import torch

    for each in module.modules():
        if isinstance(each, torch.nn.BatchNorm3d):
            each.momentum = 1.0  # of the last batch, the only one
    with torch.no_grad():
        module.train()(torch.from_numpy(normalized(clips, SPEC)))
    module.eval()


def predictor(folder: Path, file: str, precision: str | None = None) -> Callable[[], object]:
    model = Predictor(folder / file, precision=precision)
    return lambda: model.predict(CLIP)


def matrix_products(folder: Path) -> Callable[[], object]:
    """OpenVINO on a chain of products of uint8 with int8 matrices, each result uint8 again."""
    import openvino
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    entry = ops.parameter([SIDE, SIDE], np.uint8)
    stored = ops.constant(rng.integers(-127, 128, (SIDE, SIDE)).astype(np.int8))
    weights = ops.multiply(ops.convert(stored, "f32"), np.full((SIDE, 1), 1e-3, np.float32))
    value = ops.multiply(ops.convert(entry, "f32"), np.float32(1e-2))
    low, high = np.float32(0), np.float32(2.55)
    for _ in range(PRODUCTS):
        product = ops.matmul(value, weights, False, True)
        value = ops.fake_quantize(product, low, high, low, high, 256)
    model = openvino.Model([ops.result(value)], [entry])
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    matrix = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    return lambda: request.infer([matrix])


NNCF = "nncf.xml"
EAGER, PEAK = "PyTorch eager fp32", "int8 matrix products"
CONTENDERS: Contenders = {
    EAGER: (eager, ()),
    "ONNX Runtime fp32": (predictor, ("fp32.onnx",)),
    "ONNX Runtime int8": (predictor, ("int8.onnx",)),
    "OpenVINO fp32": (predictor, ("fp32.xml",)),
    "OpenVINO bf16": (predictor, ("fp32.xml", "bf16")),
    "OpenVINO int8": (predictor, ("int8.xml",)),
    PEAK: (matrix_products, ()),
}


def latency(folder: Path, contenders: Contenders, rounds: int) -> dict[str, object]:
    """Medians of every contender, how they compare, and what share of the peak int8 reaches."""
    times, refused = race(contenders, folder, rounds)
    medians = {name: statistics.median(found) for name, found in times.items()}
    peak = 2e-6 * PRODUCTS * SIDE**3 / medians.pop(PEAK)
    giga, within = multiplications(folder / "fp32.onnx")
    integer = {name: medians[name] for name in CONTENDERS if name.endswith("int8")}

    def over(value: float, bar: float) -> dict[str, object]:
        return {"ratio": round(value, 2), "bar": bar, "met": value >= bar}

    def own_fp32(name: str) -> float:
        return medians[f"{name.rpartition(' ')[0]} fp32"]

    return {
        "median_ms": {name: round(value, 1) for name, value in medians.items()},
        "refused": refused,
        "times_pytorch": {name: round(medians[EAGER] / ms, 2) for name, ms in medians.items()},
        "times_own_fp32": {
            name: round(own_fp32(name) / ms, 2) for name, ms in medians.items() if name != EAGER
        },
        "best_int8_over_pytorch": over(medians[EAGER] / min(integer.values()), PYTORCH_BAR),
        "onnxruntime_int8_over_fp32": over(
            medians["ONNX Runtime fp32"] / medians["ONNX Runtime int8"], FP32_BAR
        ),
        "gmac": round(giga, 2),
        "gmac_without_padding": round(within, 2),
        "int8_peak_gops": round(peak),
        "share_of_peak": {name: round(2e3 * within / ms / peak, 3) for name, ms in integer.items()},
    }


def multiplications(path: Path) -> tuple[float, float]:
    """10^9 products of a model's convolutions and matrices; those with no padding among them.

    A library need not multiply the zeros around a clip, of which there are many where it has only
    two frames left.
    """
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    graph = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
    every = within = 0
    for node in graph.node:
        if node.op_type in ("Gemm", "MatMul"):
            every += math.prod(shapes[node.input[1]])
            within += math.prod(shapes[node.input[1]])
        if node.op_type != "Conv":
            continue
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        sizes, outputs = shapes[node.input[0]][2:], shapes[node.output[0]][2:]
        weights = shapes[node.input[1]]
        channels, kernel = math.prod(weights[:2]), weights[2:]
        every += channels * math.prod(kernel + outputs)
        within += channels * math.prod(
            sum(0 <= stride * at + tap - pad < size for at in range(output) for tap in range(taps))
            for size, taps, output, stride, pad in zip(
                sizes, kernel, outputs, attributes["strides"], attributes["pads"]
            )
        )
    return every / 1e9, within / 1e9


def likeness(folder: Path, files: Iterable[str], clips: np.ndarray) -> dict[str, object]:
    """Cosine of each model's logits with the float model's: of the worst clip, and the median."""
    logits = {}
    for file in ("fp32.onnx", *files):
        with Predictor(folder / file) as model:
            logits[file] = [model.outputs(clip) for clip in clips]
    reference = logits.pop("fp32.onnx")
    report = {}
    for file, found in logits.items():
        cosines = [agreement(one, other).cosine for one, other in zip(reference, found)]
        report[file] = {
            "worst": round(min(cosines), 6),
            "median": round(statistics.median(cosines), 6),
        }
    return report


def calibration(folder: Path, manifests: dict[int, Manifest], clips: Path) -> dict[str, object]:
    """Measure each method, minmax for two numbers of clips, and the rules that it shall keep."""
    costs = {}
    for method, count in COSTS:
        read = functools.partial(read_clips, manifests[count], clips, SPEC)
        # Its memory is that of one calibration only.
        with ProcessPoolExecutor(1, SPAWN) as pool:
            costs[method, count] = pool.submit(calibrate, folder, method, read, count).result()
    first, last = (costs[key] for key in COSTS[:2])
    found = {
        "over_forward": (last["over_forward"], FORWARD_BAR),
        "peak_gib": (last["peak_gib"], PEAK_BAR),
        "growth": (last["peak_gib"] / first["peak_gib"], GROWTH_BAR),
    }
    return {
        "costs": [{"method": m, "clips": n, **cost} for (m, n), cost in costs.items()],
        **{
            name: {"value": round(value, 3), "bar": bar, "met": value <= bar}
            for name, (value, bar) in found.items()
        },
    }


def calibrate(folder: Path, method: str, clips: ClipsOf, count: int) -> dict[str, float]:
    """Calibrates once; its seconds, also over those of the float model, and this process's peak."""
    source = folder / "fp32.onnx"
    start = time.perf_counter()
    # The noise of every layer is measured, needed or not: what takes the most memory.
    quantize_onnx(
        source, folder / f"{method}-{count}.onnx", clips, method=method, cosine=1.0, budget=0.0
    )
    seconds, peak = time.perf_counter() - start, peak_memory()
    session = open_session(source)
    forward = []
    for clip in itertools.islice(clips(), FORWARD_CLIPS):
        tensor = input_from_clips(clip[None], SPEC)
        start = time.perf_counter()
        run_session(session, tensor)
        forward.append(time.perf_counter() - start)
    needed = PASSES[method] * count * statistics.mean(forward)
    return {
        "seconds": round(seconds, 1),
        "forward_seconds": round(needed, 1),
        "over_forward": round(seconds / needed, 2),
        "peak_gib": round(peak, 3),
    }


def peak_memory() -> float:
    """The most that this process has had in memory, in GiB; Linux.

    Not getrusage's, which for a new process begins with what its parent had.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kibibytes,) = re.findall(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    return int(kibibytes) / 2**20


def measure(depth: int, options: argparse.Namespace) -> dict[str, object]:
    listing = list_videos(options.videos, SPEC.labels, options.split)
    counts = {options.num_clips, *(count for _, count in COSTS if options.calibration)}
    manifests = {count: sample_clips(listing, num_clips=count) for count in counts}
    manifest = manifests[options.num_clips]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = functools.partial(read_clips, manifest, options.videos, SPEC)
        export(depth, clips, folder)
        report: dict[str, object] = {"calibrated_on": manifest.record()}
        contenders = CONTENDERS
        files = ["int8.onnx", "int8.xml"]
        if options.nncf:
            nncf_from_openvino(folder / "fp32.xml", clips, folder / NNCF)
            contenders = {**CONTENDERS, "OpenVINO NNCF-int8": (predictor, (NNCF,))}
            files.append(NNCF)
        report |= latency(folder, contenders, options.rounds)
        if options.calibration:
            report["calibration"] = calibration(folder, manifests, options.videos)
            files += [f"{method}-{count}.onnx" for method, count in COSTS]
        report["cosine"] = likeness(folder, files, held_out(listing, options.videos))
    return report


def measure_motion(count: int, num_clips: int) -> dict[str, object]:
    """Top-1 of the bundled model on held-out clips: in float, and in int8 by each method."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (built,) = build("motion", targets=["onnx"], out=folder).built
        reader = ClipReader(built.spec)

        def drawn(split: str, number: int) -> np.ndarray:
            scene = motion.scene(split, number)
            return reader.read(np.stack([scene.draw(t) for t in motion.frame_times()])).pixels[0]

        calibrated_on = [drawn("calibration", number) for number in range(num_clips)]
        clips = [drawn("test", number) for number in range(count)]
        truths = np.arange(count) % len(motion.CLASSES)

        def answers(path: Path) -> np.ndarray:
            with Predictor(path) as model:
                return np.array([model.scores(clip[None]).argmax() for clip in clips])

        reference = answers(built.path)
        for method, (bits, profile) in itertools.product(PASSES, WEIGHT_BITS.items()):
            path = folder / f"{method}-{bits}.onnx"
            quantize_onnx(built.path, path, lambda: calibrated_on, method=method, profile=profile)
            found = answers(path)
            rows.append(
                {
                    "method": method,
                    "weight_bits": bits,
                    "top1": round(float((found == truths).mean()), 4),
                    "agreement": round(float((found == reference).mean()), 4),
                }
            )
    return {
        "clips": count,
        "calibrated_on": num_clips,
        "fp32_top1": round(float((reference == truths).mean()), 4),
        "int8": rows,
    }


def print_network(found: dict) -> None:
    for name, value in found["median_ms"].items():
        own = found["times_own_fp32"].get(name)
        beside = "" if own is None else f"{own:5.2f}x its fp32"
        print(
            f"{value:9.1f} ms  {found['times_pytorch'][name]:5.2f}x  {name:18}  {beside}".rstrip()
        )
    for name, reason in found["refused"].items():
        print(f"             refused  {name}: {reason}")
    held = found["best_int8_over_pytorch"]
    print(f"best int8 over PyTorch: {held['ratio']:.2f} (at least {held['bar']})")
    held = found["onnxruntime_int8_over_fp32"]
    print(f"ONNX Runtime int8 over fp32: {held['ratio']:.2f} (at least {held['bar']})")
    for name, share in found["share_of_peak"].items():
        print(f"{name}: {share:.0%} of the {found['int8_peak_gops']} GOP/s of int8 products")
    for file, cosine in found["cosine"].items():
        print(
            f"cosine with fp32: worst {cosine['worst']:.5f}, median {cosine['median']:.5f}  {file}"
        )
    if "calibration" in found:
        for row in found["calibration"]["costs"]:
            print(
                f"calibration on {row['clips']} clips, {row['method']}: {row['seconds']:.1f} s, "
                f"{row['over_forward']:.2f} of the float passes, {row['peak_gib']:.2f} GiB"
            )
        for name in ("over_forward", "peak_gib", "growth"):
            held = found["calibration"][name]
            print(f"{name}: {held['value']:.2f} (at most {held['bar']})")


def print_motion(found: dict) -> None:
    print(f"bundled model, {found['clips']} clips: top-1 {found['fp32_top1']:.1%} in fp32")
    for row in found["int8"]:
        print(
            f"  {row['method']:10}  {row['weight_bits']}-bit weights  top-1 {row['top1']:.1%}  "
            f"agreement {row['agreement']:.1%}"
        )


def add_clips(parser: argparse.ArgumentParser) -> None:
    """Adds the options about the clips that int8 is calibrated on."""
    parser.add_argument("--videos", type=Path, default=DATA / "ucf101", help="folder of UCF101")
    parser.add_argument(
        "--split", type=Path, default=DATA / "splits" / "trainlist01.txt", help="its train list"
    )
    parser.add_argument("--num-clips", type=int, default=50, help="to calibrate on (default 50)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_clips(parser)
    parser.add_argument("--depth", type=int, nargs="*", choices=BLOCKS, default=list(BLOCKS))
    parser.add_argument("--rounds", type=int, default=15, help="rounds (default 15)")
    parser.add_argument("--calibration", action="store_true", help="measure its cost too")
    parser.add_argument("--nncf", action="store_true", help="measure NNCF's int8 as well")
    parser.add_argument("--motion", type=int, metavar="N", help="clips for the bundled model")
    options = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "rounds": options.rounds}
    for depth in options.depth:
        report[f"r2plus1d_{depth}"] = measure(depth, options)
    if options.motion:
        report["motion"] = measure_motion(options.motion, options.num_clips)
    if options.json:
        print(json.dumps(report))
        return
    for depth in options.depth:
        print(f"R(2+1)D-{depth}")
        print_network(report[f"r2plus1d_{depth}"])
    if options.motion:
        print_motion(report["motion"])


if __name__ == "__main__":
    main()
