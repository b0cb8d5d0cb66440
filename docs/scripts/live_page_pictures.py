"""Take the pictures of docs/live-page.md: the page of three cameras, on a desk and on a phone.

    python docs/scripts/live_page_pictures.py

They are taken with Playwright and a Chromium of this machine, as the tests find it. The cameras
show generated videos, and the answers are those of the bundled model; one camera is lost.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from r2p_edge import Predictor, Stream
from r2p_edge.calibration import motion
from r2p_edge.export.build import build
from r2p_edge.page import Board, serve_page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from requirements import chromium  # noqa: E402

ASSETS = ROOT / "docs" / "assets"
SIZES = {"desk": (1200, 720), "phone": (390, 844)}
CAMERAS = {"door": (13, 25, 37), "yard": (3, 15), "garage": (18, 30, 42)}
"""Generated test videos that each camera shows, one after the other."""

TICKS, LOST_AT, THRESHOLD = 72, 54, 0.8


def frames(numbers: tuple[int, ...], rate: float) -> Iterator[Any]:
    """Yield the frames of some generated videos, over and over."""
    while True:
        for number in numbers:
            drawn = motion.scene("test", number)
            for k in range(round(motion.DURATION * rate)):
                yield drawn.draw(k / rate, height=360, width=640)


class Camera:
    """One camera: its frames, its stream, and the event that goes on."""

    def __init__(self, name: str, predictor: Predictor, board: Board) -> None:
        self.name, self._board = name, board
        self._tick = predictor.spec.clip.tick
        self._frames = frames(CAMERAS[name], 1 / self._tick)
        self._stream = Stream(predictor, stride=4, name=name)
        self._number, self._last = 0, 0.0
        self._event: dict[str, Any] = {}

    def tick(self, now: float) -> None:
        """Show a frame, answer if that is due, and begin and end events."""
        image = next(self._frames)
        self._board.frame(self.name, image, now)
        answer = self._stream.push(image, self._number * self._tick)
        self._number += 1
        if answer is None:
            return
        self._board.answer(self.name, answer)
        self._last = answer.span[1]
        if answer.label != self._event.get("label"):
            self._end()
        if not self._event and answer.score > THRESHOLD:
            first, last = answer.span
            times = {"start": first, "end": last, "wall": time.strftime("%Y-%m-%dT%H:%M:%SZ")}
            self._event = {"id": f"{self.name}-{self._number}", "source": self.name, **times}
            self._event |= {"label": answer.label, "score": answer.score, "rule": "any"}
            self._tell(type="begin")

    def lose(self) -> None:
        """Let the connection break off."""
        self._end()
        self._board.state(self.name, "lost", "the camera closed the connection; trying again")

    def _end(self) -> None:
        if self._event:
            self._tell(type="end", end=self._last)
            self._event = {}

    def _tell(self, **more: Any) -> None:
        self._event |= more
        self._board.event(self._event)


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        (artifact,) = build("motion", targets=["onnx"], out=folder).built
        with Predictor(artifact.path) as predictor:
            about = {"model": artifact.path.name, "runtime": predictor.runtime}
            about |= {"device": predictor.device, "precision": predictor.precision}
            board = Board(CAMERAS, about=about)
            browser = playwright.chromium.launch(
                executable_path=chromium(), args=["--no-sandbox", "--lang=en-GB"]
            )
            with serve_page(board, "127.0.0.1:0") as server:
                tabs = {}
                for name, (width, height) in SIZES.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, locale="en-GB"
                    )
                    tabs[name] = context.new_page()
                    tabs[name].goto(server.url)
                watch([Camera(name, predictor, board) for name in CAMERAS])
                for name, tab in tabs.items():
                    tab.locator(".card[data-state=lost] canvas").wait_for()
                    tab.screenshot(path=ASSETS / f"live-page-{name}.jpg", type="jpeg", quality=80)
            browser.close()


def watch(cameras: list[Camera]) -> None:
    """Show the cameras for a while, and let the last of them be lost."""
    *others, garage = cameras
    for number in range(TICKS):
        if number == LOST_AT:
            garage.lose()
        for camera in cameras if number < LOST_AT else others:
            camera.tick(time.time())


if __name__ == "__main__":
    main()
