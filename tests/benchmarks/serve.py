"""Time of a clip that is answered over HTTP, beside that of `predict`, and with eight clients.

    python tests/benchmarks/serve.py [--json] [--model FILE] [--rounds 200] [--clients 8]

`r2p-edge serve` runs in a process of its own, on this machine's loopback. In each round one clip is
answered by `predict(array)` in this process and one by the server, in changing order; each model
has the processor for itself then. After that eight clients, each with a connection that it keeps,
send a clip as soon as the one before is answered. Their 99th percentile is held against the median
of the client that was alone; beside it stands that of eight answers in a row to that client, which
a server that answers in order cannot go below on this machine. By default the model is the bundled
one, in FP32 on ONNX Runtime.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _harness import interleaved, machine

from r2p_edge import Predictor
from r2p_edge.export.build import build

FACTOR, MORE_MS = 1.05, 2.0  # of predict(array), that the median of one client may take
TAIL = 8.5  # times the median of one client, that the 99th percentile of eight may take


class Client:
    """A connection that is kept, and a clip to send over it."""

    def __init__(self, port: int, name: str, pixels: np.ndarray) -> None:
        data = pixels.tobytes()
        tensor = {
            "name": "frames",
            "shape": list(pixels.shape),
            "datatype": "UINT8",
            "parameters": {"binary_data_size": len(data)},
        }
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
        self._body = head.encode() + data
        self._headers = {"Inference-Header-Content-Length": str(len(head))}
        self._path = f"/v2/models/{name}/infer"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def __call__(self) -> bytes:
        """Send the clip; return the body of the answer."""
        self._connection.request("POST", self._path, self._body, self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the server answers {answer.status}: {body[:200]!r}")
        return body


@contextlib.contextmanager
def serving(model: Path, queue: int) -> Iterator[tuple[int, str]]:
    """Run `r2p-edge serve`; yield its port and the name of the model."""
    command = [sys.executable, "-m", "r2p_edge", "serve", str(model), "--listen", "127.0.0.1:0"]
    command += ["--queue", str(queue), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield int(told["url"].rsplit(":", 1)[1].strip("/")), told["model"]
        finally:
            process.terminate()


def together(clients: list[Client], rounds: int) -> list[float]:
    """Return the milliseconds of each request, where every client sends so many."""
    times: list[float] = []

    def send(client: Client) -> None:
        for _ in range(rounds):
            started = time.perf_counter()
            client()
            times.append((time.perf_counter() - started) * 1e3)

    threads = [threading.Thread(target=send, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) < rounds * len(clients):
        raise RuntimeError("a client failed; see above")
    return times


def measure(model: Path, rounds: int, count: int) -> dict[str, object]:
    """Return every figure."""
    with Predictor(model) as predictor, serving(model, 2 * count) as (port, name):
        shape = predictor.spec.clip.frames, *predictor.pixels(blank(predictor)).shape[2:]
        clip = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        clients = [Client(port, name, clip[np.newaxis]) for _ in range(count)]
        turns = {"predict": lambda: predictor.predict(clip), "serve": clients[0]}
        alone = interleaved(turns, rounds)
        for client in clients:  # each connects
            client()
        many = together(clients, max(rounds // count, 10))
    medians = {name: statistics.median(times) for name, times in alone.items()}
    tail = float(np.percentile(many, 99))
    bars = {
        "one_p50_ms": (medians["serve"], FACTOR * medians["predict"] + MORE_MS),
        "many_p99_over_one_p50": (tail / medians["serve"], TAIL),
    }
    return {
        "machine": machine(),
        "model": str(model),
        "rounds": rounds,
        "clients": count,
        "predict_p50_ms": round(medians["predict"], 2),
        "serve_p50_ms": round(medians["serve"], 2),
        "many_p50_ms": round(statistics.median(many), 2),
        "many_p99_ms": round(tail, 2),
        "in_a_row_p99_over_one_p50": round(in_a_row(alone["serve"], count) / medians["serve"], 3),
        "figures": {
            name: {"value": round(value, 3), "bar": round(bar, 3), "met": value <= bar}
            for name, (value, bar) in bars.items()
        },
    }


def in_a_row(times: Sequence[float], count: int) -> float:
    """Return the 99th percentile of the time of so many answers, one after the other."""
    return float(np.percentile(np.convolve(times, np.ones(count), "valid"), 99))


def blank(predictor: Predictor) -> np.ndarray:
    """Return a grey clip, uint8 (T, 64, 64, 3)."""
    return np.full((predictor.spec.clip.frames, 64, 64, 3), 128, np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--model", type=Path, help="model file (default: the bundled model)")
    parser.add_argument("--rounds", type=int, default=200, help="clips of each (default 200)")
    parser.add_argument("--clients", type=int, default=8, help="clients at a time (default 8)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model is None:
            (artifact,) = build("motion", targets=["onnx"], out=folder).built
            model = artifact.path
        report = measure(model, options.rounds, options.clients)
    if options.json:
        print(json.dumps(report))
        return
    print(f"predict(array)    p50 {report['predict_p50_ms']:8.2f} ms")
    print(f"serve, 1 client   p50 {report['serve_p50_ms']:8.2f} ms")
    print(
        f"serve, {options.clients} clients  p50 {report['many_p50_ms']:8.2f} ms"
        f"  p99 {report['many_p99_ms']:8.2f} ms"
    )
    print(
        f"{options.clients} answers in a row to 1 client, p99 over p50 of one: "
        f"{report['in_a_row_p99_over_one_p50']}"
    )
    for name, held in report["figures"].items():
        print(f"{name}: {held['value']:.4g} (at most {held['bar']})")


if __name__ == "__main__":
    main()
