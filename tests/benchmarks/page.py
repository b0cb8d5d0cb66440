"""The cost of the live page: to the model beside it, and until a viewer has an answer.

    python tests/benchmarks/page.py [--json] [--rounds 5]

Answers a second of the bundled model, as fast as it can, alone, with three viewers that poll as the
page does, and with fifty sockets that ask for the stream and never read; medians of interleaved
rounds of ten seconds, whose ratios count: such a socket is sent what its buffers hold, in its first
two or three. Delay from a frame to the viewer that has it. Size of a picture, and the
time that its encoding takes.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _harness import interleaved, machine

sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from crowd import deaf

from r2p_edge import Predictor
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.frame import Image
from r2p_edge.page import Board, serve_page
from r2p_edge.pictures.encoding import reduced_jpeg_of

BARS = {"three viewers": 0.9, "50 sockets that never read": 0.95}
"""Shares of the answers a second that there are without, at least."""

VIEWERS, DEAF = 3, 50
PUSHED = 200  # frames in a round


class Loop:
    """A stream of generated video through the bundled model, which feeds a board."""

    def __init__(self, predictor: Predictor, board: Board) -> None:
        self._predictor, self._board = predictor, board
        scenes = (motion.scene("test", number) for number in range(4))
        self.frames: list[Image] = [
            scene.draw(k / 10, height=360, width=640) for scene in scenes for k in range(12)
        ]

    def run(self) -> int:
        """Push frames as fast as the model takes them; return the number of answers."""
        from r2p_edge import Stream

        stream, answers = Stream(self._predictor, stride=1, name="door"), 0
        tick = self._predictor.spec.clip.tick
        for number in range(PUSHED):
            frame = self.frames[number % len(self.frames)]
            self._board.frame("door", frame, time.time())
            if (answer := stream.push(frame, number * tick)) is not None:
                self._board.answer("door", answer)
                answers += 1
        return answers


@contextlib.contextmanager
def viewers(port: int, count: int) -> Iterator[None]:
    """Keep so many viewers, each of which asks for what is new as the page does."""
    over = threading.Event()

    def view() -> None:
        connection, after = http.client.HTTPConnection("127.0.0.1", port), 0
        while not over.wait(0.06):
            connection.request("GET", f"/next?after={after}")
            answer = connection.getresponse()
            if answer.status == 200:  # not where those of the round before hold all connections
                after = json.loads(answer.headers["X-R2P"])["n"]
            answer.read()
        connection.close()

    threads = [threading.Thread(target=view) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def rates(predictor: Predictor, rounds: int) -> dict[str, float]:
    """Return the answers a second, alone and beside viewers of each kind."""
    board = Board(["door"])
    loop = Loop(predictor, board)
    answers = loop.run()

    with serve_page(board, "127.0.0.1:0") as server:

        def beside(crowd: contextlib.AbstractContextManager[Any]) -> None:
            with crowd:
                loop.run()

        functions = {
            "alone": lambda: beside(contextlib.nullcontext()),
            "three viewers": lambda: beside(viewers(server.port, VIEWERS)),
            "50 sockets that never read": lambda: beside(deaf(server.port, DEAF)),
        }
        times = interleaved(functions, rounds)
    return {name: 1e3 * answers / statistics.median(values) for name, values in times.items()}


def delays(frames: list[Image], count: int = 200) -> list[float]:
    """Return milliseconds from a frame on the board to the viewer that has read it."""
    board, found = Board(["door"]), []
    with serve_page(board, "127.0.0.1:0") as server:
        connection, after = http.client.HTTPConnection("127.0.0.1", server.port), 0
        for number in range(count):
            waiting = threading.Timer(0.1, put, (board, frames[number % len(frames)]))
            waiting.start()
            connection.request("GET", f"/next?source=door&after={after}")
            answer = connection.getresponse()
            told = json.loads(answer.headers["X-R2P"])
            after = told["n"]
            answer.read()
            found.append((time.time() - told["sources"][0]["wall"]) * 1e3)
            waiting.join()
        connection.close()
    return found


def put(board: Board, frame: Image) -> None:
    """Show a frame that is captured now."""
    board.frame("door", frame, time.time())


def main() -> int:
    """Print what was measured; return 1 if it is worse than a bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (artifact,) = build("motion", targets=["onnx"], out=folder).built
        with Predictor(artifact.path) as predictor:
            found = rates(predictor, options.rounds)
            frames = Loop(predictor, Board()).frames
    waited = sorted(delays(frames))
    sizes = [len(reduced_jpeg_of(frame, 640)) for frame in frames]
    spent = interleaved({"encode": lambda: reduced_jpeg_of(frames[0], 640)}, 50)["encode"]
    shares = {name: found[name] / found["alone"] for name in BARS}
    result = {
        "machine": machine(),
        "answers_per_second": {name: round(rate, 1) for name, rate in found.items()},
        "shares": {name: round(share, 3) for name, share in shares.items()},
        "delay_ms": {
            "p50": round(statistics.median(waited), 2),
            "p95": round(waited[int(0.95 * len(waited))], 2),
        },
        "picture": {
            "kilobytes": round(statistics.mean(sizes) / 1e3, 1),
            "encode_ms": round(statistics.median(spent), 2),
        },
        "bars_met": all(shares[name] >= bar for name, bar in BARS.items()),
    }
    print(json.dumps(result, indent=None if options.json else 2))
    return 0 if result["bars_met"] else 1


if __name__ == "__main__":
    sys.exit(main())
