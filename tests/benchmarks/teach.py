"""Accuracy of heads that are taught on few clips, and what teaching takes.

    python tests/benchmarks/teach.py [--json] [--model FILE ...] [--generator FILE.py]
                                     [--parts shots own flipped reject fit verb] [--draws 10]
                                     [--videos 5] [--cache DIR]

The bundled model, or those given, made for the same pixels, are taught classes that they were not
trained on: by default the ten of `compound_scenes.py`. `--generator` takes another file, such as
`second_motions.py`, with `CLASSES`, ten names, and `draw(label, seed)`, which gives a clip of uint8
RGB (16, height, width, 3) with 80 ms from frame to frame; any list of numbers is a seed. Clips are
taken from 60 of each class (seed [100, number]) by `numpy.random.default_rng([shots, draw])`, and
measured on 400 others (seed [102, number]). A second model shows what int8 changes.

* `shots`: accuracy from 1 to 20 clips a class, means of the draws; how far the accuracy on clips
  that were left out is from that on others, and how often that lies in its interval.
* `own`: the twelve classes of the bundled model itself, from 5 clips each, on 240 others.
* `flipped`: a fifth of the labels of 20 clips a class is wrong.
* `reject`: three of the ten classes are withheld, and their clips are to be "none of these".
* `fit`: the head of 1,000 clips, 512 features and 20 classes: seconds of one core.
* `verb`: what `teach` takes on `--videos` videos a class, and what reading and answering them
  takes, in seconds of all cores; and whether `eval` gives the accuracy that it printed, in ONNX
  Runtime and OpenVINO.

Features are computed once; `--cache` keeps them. BLAS computes as many threads as it likes; for
`fit` set OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import compound_scenes
import numpy as np
from _harness import machine
from compound_scenes import frames_of, write_videos

from r2p_edge import Predictor, teach
from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration import motion
from r2p_edge.calibration.evaluate import evaluate
from r2p_edge.export.build import build
from r2p_edge.export.taught import network_in
from r2p_edge.teaching.feature_file import FeatureSet, record_of_video
from r2p_edge.teaching.fitting import Method
from r2p_edge.teaching.lesson import learn

SHOTS = (1, 2, 5, 10, 20)
POOL, TEST = 60, 400  # clips to draw from, of each class; clips to measure on, of all
OWN_SHOTS, OWN_TEST = 5, 240
WITHHELD, FALSE_REJECTIONS = 3, 0.1
FLIPPED, FLIPPED_SHOTS = 0.2, 20
FIT = (1000, 512, 20)
PARTS = ("shots", "own", "flipped", "reject", "fit", "verb")

Clips = Iterator[tuple[int, np.ndarray]]


class Features:
    """Features of the clips of a generator, computed once by a model.

    Args:
        model: the artifact.
        cache: folder that keeps them.
    """

    def __init__(self, model: Path, cache: Path) -> None:
        self.model, self._cache = model, cache

    def of(self, name: str, clips: Callable[[], Clips]) -> tuple[np.ndarray, np.ndarray]:
        """Return features, (clips, C), and the class of each clip."""
        kept = self._cache / f"{sha256_of_file(self.model)[:16]}-{name}.npz"
        if not kept.exists():
            spec = open_artifact(self.model).spec
            draft = self._cache / f"features{self.model.suffix}"
            found, targets = [], []
            with Predictor(
                draft, spec=network_in(self.model, spec).write_features(draft)
            ) as predictor:
                for target, frames in clips():
                    found.append(predictor.outputs_of(predictor.pixels(frames))[0])
                    targets.append(target)
            np.savez(kept, f=np.array(found, np.float32), y=np.array(targets))
        with np.load(kept) as file:
            return file["f"], file["y"]


def clips_of(generator: ModuleType, split: int, count: int) -> Clips:
    """Yield clips of a generator, whose classes take turns."""
    classes = generator.CLASSES
    for number in range(count):
        target = number % len(classes)
        yield target, generator.draw(classes[target], [split, number])


def own_clips(split: str, first: int, count: int) -> Clips:
    """Yield clips of the bundled generator."""
    for number in range(count):
        place = first + number
        yield place % len(motion.CLASSES), frames_of(motion.scene(split, place))


def drawn(targets: np.ndarray, shots: int, seed: Sequence[int]) -> np.ndarray:
    """Return the places of so many clips of each class."""
    random = np.random.default_rng(seed)
    return np.concatenate(
        [
            random.choice(np.flatnonzero(targets == k), shots, replace=False)
            for k in range(targets.max() + 1)
        ]
    )


def feature_set(features: np.ndarray, targets: np.ndarray) -> FeatureSet:
    """Return clips as if they were videos that had been read."""
    names = [str(target) for target in targets]
    videos = tuple(record_of_video(str(n), name, str(n), str(n)) for n, name in enumerate(names))
    labels = tuple(str(k) for k in range(targets.max() + 1))
    return FeatureSet(labels, targets.astype(np.intp), features[:, None], videos, {})


def right(head: Any, features: np.ndarray, targets: np.ndarray) -> float:
    """Return the accuracy of a head in percent."""
    return 100 * float((head.logits(features).argmax(axis=1) == targets).mean())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean and standard deviation."""
    return {"mean": round(float(np.mean(values)), 2), "sd": round(float(np.std(values)), 2)}


def measure_shots(
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    draws: int,
    method: Method | None = None,
) -> dict[str, Any]:
    """Return the accuracy by the number of clips of a class."""
    found: dict[str, Any] = {}
    for shots in SHOTS:
        accuracies, gaps, inside = [], [], 0
        for draw in range(draws):
            chosen = drawn(train[1], shots, [shots, draw])
            lesson = learn(feature_set(train[0][chosen], train[1][chosen]), method, None, None)
            accuracies.append(right(lesson.head, *test))
            if lesson.left_out is not None:
                gaps.append(100 * lesson.left_out["top1"] - accuracies[-1])
                low, high = lesson.left_out["interval"]
                inside += low <= accuracies[-1] / 100 <= high
        found[str(shots)] = {"top1": spread(accuracies), "method": lesson.method}
        if gaps:
            found[str(shots)] |= {"left_out_minus_test": spread(gaps), "in_interval": inside}
    return found


def measure_flipped(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], draws: int
) -> dict[str, Any]:
    """Return the accuracy with right labels, and with a fifth of them wrong."""
    accuracies: dict[str, list[float]] = {"right": [], "flipped": []}
    for draw in range(draws):
        chosen = drawn(train[1], FLIPPED_SHOTS, [FLIPPED_SHOTS, draw])
        random = np.random.default_rng([77, draw])
        wrong = random.choice(len(chosen), round(FLIPPED * len(chosen)), replace=False)
        targets = train[1][chosen].copy()
        classes = targets.max() + 1
        accuracies["right"].append(
            right(learn(feature_set(train[0][chosen], targets), None, None, None).head, *test)
        )
        targets[wrong] = (targets[wrong] + random.integers(1, classes, len(wrong))) % classes
        accuracies["flipped"].append(
            right(learn(feature_set(train[0][chosen], targets), None, None, None).head, *test)
        )
    return {name: spread(values) for name, values in accuracies.items()}


def measure_reject(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray], draws: int
) -> dict[str, Any]:
    """Return how many clips of withheld classes, and of the others, are "none of these"."""
    found: dict[str, Any] = {}
    for shots in (5, 10, 20):
        rejected, falsely, accuracy, at_share = [], [], [], []
        for draw in range(draws):
            random = np.random.default_rng([shots, draw, 7])
            classes = train[1].max() + 1
            known = np.setdiff1d(np.arange(classes), random.choice(classes, WITHHELD, False))
            place = np.full(classes, len(known))  # the answer "none of these"
            place[known] = np.arange(len(known))
            inside = np.isin(train[1], known)
            features, targets = train[0][inside], place[train[1][inside]]
            chosen = drawn(targets, shots, [shots, draw])
            taught = feature_set(features[chosen], targets[chosen])
            head = learn(taught, None, FALSE_REJECTIONS, None).head
            answers, truths = head.logits(test[0]).argmax(axis=1), place[test[1]]
            none = answers == len(known)
            rejected.append(100 * float(none[truths == len(known)].mean()))
            falsely.append(100 * float(none[truths < len(known)].mean()))
            accuracy.append(100 * float((answers == truths).mean()))
            cosines = head.reject.cosines(test[0])
            least = np.quantile(cosines[truths < len(known)], FALSE_REJECTIONS)
            at_share.append(100 * float((cosines[truths == len(known)] < least).mean()))
        found[str(shots)] = {
            "rejected": spread(rejected),
            "false": spread(falsely),
            "rejected_at_a_tenth_false": spread(at_share),
            "top1": spread(accuracy),
        }
    return found


def measure_fit() -> dict[str, float]:
    """Return the seconds of one core that a head takes, with the choice of its strength."""
    clips, count, classes = FIT
    random = np.random.default_rng(0)
    targets = np.arange(clips) % classes
    means = 0.2 * random.normal(size=(classes, count))
    features = np.maximum(means[targets] + random.normal(size=(clips, count)), 0)
    taught = feature_set(features.astype(np.float32), targets)
    started, wall = time.process_time(), time.perf_counter()
    learn(taught, "logistic", None, None)
    return {
        "cpu_s": round(time.process_time() - started, 2),
        "wall_s": round(time.perf_counter() - wall, 2),
    }


def measure_verb(models: Sequence[Path], shots: int, tested: int = 4) -> dict[str, Any]:
    """Return what `teach` takes, and whether `eval` gives the accuracy that it prints."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_videos(folder / "mine", 100, shots)
        write_videos(folder / "others", 102, tested)
        forms = list(models)
        for model in models:
            if model.suffix == ".onnx":
                report = build(model, targets=["openvino"], out=folder / "ir")
                forms.append(report.built[0].path)
        for number, model in enumerate(forms):
            out = folder / f"taught-{number}{model.suffix}"
            with Predictor(model) as predictor:
                predictor.warmup()
                started = time.process_time()
                for video in sorted((folder / "mine").rglob("*.mp4")):
                    predictor.predict(video)
                needed = time.process_time() - started
            started = time.process_time()
            teach(model, out, folder / "mine")
            took = time.process_time() - started
            taught = teach(model, out, folder / "mine", test=folder / "others", reject=0.1)
            assert taught.test is not None
            (result,) = evaluate([out], folder / "others")["results"]
            found[f"{model.name} on {result['runtime']}"] = {
                "inference_and_decoding_s": round(needed, 2),
                "teach_s": round(took, 2),
                "beyond_s": round(took - 1.1 * needed, 2),
                "printed": taught.test["top1"],
                "eval": round(result["top1"], 4),
                "torch_imported": "torch" in sys.modules,
            }
    return found


def load_generator(path: Path | None) -> ModuleType:
    """Return the module of a generator's file."""
    if path is None:
        return compound_scenes
    spec = importlib.util.spec_from_file_location("generator", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(options: argparse.Namespace, cache: Path) -> dict[str, Any]:
    """Return the figures of all parts."""
    generator = load_generator(options.generator)
    kind = "compound" if options.generator is None else options.generator.stem
    models = options.model or [build("motion", targets=["onnx"], out=cache).built[0].path]
    found: dict[str, Any] = {}
    for model in models:
        features = Features(model, cache)
        train = test = (np.empty(0), np.empty(0))
        if {"shots", "flipped", "reject"} & set(options.parts):
            count = POOL * len(generator.CLASSES)
            train = features.of(f"{kind}-train", partial(clips_of, generator, 100, count))
            test = features.of(f"{kind}-test", partial(clips_of, generator, 102, TEST))
        figures = found[model.name] = {}
        if "shots" in options.parts:
            figures["shots"] = measure_shots(train, test, options.draws)
        if "flipped" in options.parts:
            figures["flipped"] = measure_flipped(train, test, options.draws)
        if "reject" in options.parts:
            figures["reject"] = measure_reject(train, test, options.draws)
        if "own" in options.parts:
            own = features.of("own-train", lambda: own_clips("train", 10**6, 240))
            other = features.of("own-test", lambda: own_clips("test", 0, OWN_TEST))
            accuracies = []
            for draw in range(options.draws):
                chosen = drawn(own[1], OWN_SHOTS, [OWN_SHOTS, draw])
                lesson = learn(feature_set(own[0][chosen], own[1][chosen]), None, None, None)
                accuracies.append(right(lesson.head, *other))
            figures["own"] = spread(accuracies)
    if "fit" in options.parts:
        found["fit"] = measure_fit()
    if "verb" in options.parts:
        found["verb"] = measure_verb(models, options.videos)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", type=Path, nargs="+")
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--videos", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch)
        cache.mkdir(parents=True, exist_ok=True)
        found = measure(options, cache)
    print(json.dumps({"machine": machine(), **found}, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.exit(main())
