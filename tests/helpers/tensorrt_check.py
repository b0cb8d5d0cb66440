"""Checks that `test_mutations.py` runs by name on a copy of the package.

    python tensorrt_check.py FOLDER CHECK...

FOLDER has the ONNX artifacts fp32.onnx, int8.onnx, level.onnx and open.onnx.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from fake_tensorrt import allocated, installed, live, plan_of
from models import FRAMES, SIZE, grey_frames, spec_of_brightness
from tensorrt_models import clips_of, foreign_engine

from r2p_edge.errors import BackendError
from r2p_edge.export import tensorrt_from_onnx
from r2p_edge.predictor import Predictor
from r2p_edge.runtimes.base import Options
from r2p_edge.runtimes.tensorrt.runtime import TensorRT
from r2p_edge.runtimes.tensorrt.session import CONTRACT

SHOWN = ([1, 2, 3, 4], [9, 0, 8, 7], [5, 5, 0, 5])


def level(values: list[int]) -> np.ndarray:
    return grey_frames(values, SIZE, SIZE)[None]


@contextlib.contextmanager
def opened(folder: Path, model: str = "level", **environment: object) -> Iterator[TensorRT]:
    """Open a TensorRT 10.3 engine of a brightness model, and make sure that it is freed."""
    with installed(**environment):
        profile = None
        if model == "open":
            shapes = [(size, FRAMES, SIZE, SIZE, 3) for size in (1, 2, 4)]
            profile = {"frames": shapes}
        path = foreign_engine(folder / "level.engine", folder / f"{model}.onnx", profile=profile)
        before = live()
        runtime = TensorRT.open(path, spec_of_brightness(), Options())
        yield runtime
        runtime.close()
        assert live() == before, "something is left"


def build(folder: Path, version: str, precision: str) -> None:
    """Build an engine, and compare its record with the request and its answers with the ONNX's."""
    source = folder / f"{'int8' if precision == 'int8' else 'fp32'}.onnx"
    path = folder / "net.engine"
    clips = clips_of(2)
    with Predictor(source) as predictor:
        want = np.concatenate([predictor._runtime.run(each) for each in clips])
    with installed(version):
        spec = tensorrt_from_onnx(source, path, precision=precision, cache=folder)
        plan = plan_of(path)
        assert plan["name"] == CONTRACT + spec.contract_digest(), "the name is another"
        if precision == "fp32":
            assert plan["flags"] == [], "TF32 is on"
        with Predictor(path) as predictor:
            have = np.concatenate([predictor._runtime.run(each) for each in clips])
    off = float(np.abs(have - want).max() / np.abs(want).max())
    assert off <= {"fp32": 1e-6, "fp16": 2e-3, "int8": 5e-2}[precision], "the numbers are wrong"
    assert (off > 0) is (precision != "fp32"), "it computes in another precision"


def run(folder: Path) -> None:
    with opened(folder) as runtime:
        first = runtime.run(level(SHOWN[0]))
        before = allocated()
        answers = [runtime.run(level(shown)).tolist() for shown in SHOWN]
        assert answers == [[shown] for shown in SHOWN], f"the numbers are wrong: {answers}"
        assert first.tolist() == [SHOWN[0]], "an answer has changed"
        assert allocated() == before, "a run allocates"


def open_axes(folder: Path) -> None:
    with opened(folder, "open") as runtime:
        assert runtime.run(level(SHOWN[0])).tolist() == [SHOWN[0]], "the numbers are wrong"


def graph(folder: Path) -> None:
    with opened(folder, R2P_CUDA_GRAPH=1) as runtime:
        answers = [runtime.run(level(shown)).tolist() for shown in SHOWN]
        assert answers == [[shown] for shown in SHOWN], f"the numbers are wrong: {answers}"


def threads(folder: Path) -> None:
    wrong = []

    def ask(runtime: TensorRT, shown: list[int]) -> None:
        for _ in range(10):
            try:
                if runtime.run(level(shown)).tolist() != [shown]:
                    wrong.append("other numbers")
            except BackendError as error:
                wrong.append(str(error))

    with opened(folder) as runtime:
        workers = [threading.Thread(target=ask, args=(runtime, shown)) for shown in SHOWN]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert not wrong, wrong[0]


CHECKS: dict[str, Callable[[Path], None]] = {
    "run": run, "open": open_axes, "graph": graph, "threads": threads
}  # fmt: skip


def main(folder: Path, names: list[str]) -> None:
    for name in names:
        if name in CHECKS:
            CHECKS[name](folder)
        else:
            build(folder, *name.split())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
