"""The picture of the whole: checkpoint, ONNX, the runtimes, `Predictor`, and the contract below.

    python docs/scripts/draw_overview.py

writes `docs/assets/overview-light.svg` and `overview-dark.svg`. The same code always writes the
same bytes, so a test can compare the committed pictures with what the script draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
WIDTH, HEIGHT = 1000, 446
MIDDLE = 182  # height of the row of boxes' centre
SANS = "-apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

RUNTIMES = (
    ("ONNX Runtime", ".onnx", "CPU"),
    ("OpenVINO", ".xml", "CPU, GPU, NPU"),
    ("TensorRT", ".engine", "NVIDIA GPU, Jetson"),
    ("MindSpore", ".mindir", "CPU"),
    ("MindSpore Lite, CANN", ".mindir .om", "CPU, Ascend"),
)

CONTENTS = (
    "labels · frames and sampling · resize · crop · normalisation · precision · parity · sha256"
)
# Where an arrow is checked: x of the dotted line, on which side of it the words stand, the words.
CHECKS = (
    (237, "end", ("answers compared", "with NumPy's")),
    (460, "end", ("answers compared", "with the ONNX file's")),
    (818, "start", ("digest, shapes and", "labels checked")),
)


@dataclass(frozen=True)
class Theme:
    """Colours of one picture, as CSS values."""

    ink: str
    faint: str
    line: str
    box: str
    accent: str
    band: str


THEMES = {
    "light": Theme("#1f2328", "#59636e", "#818b98", "#f6f8fa", "#0969da", "#ddf4ff"),
    "dark": Theme("#f0f6fc", "#9198a1", "#7d8590", "#161b22", "#58a6ff", "#122d4d"),
}


class Canvas:
    """Shapes of one picture, collected in the order in which they are drawn."""

    def __init__(self, theme: Theme) -> None:
        self.theme = theme
        self.shapes: list[str] = []

    def box(self, x: int, y: int, width: int, height: int, accent: bool = False) -> None:
        """Draw a box with round corners; `accent` draws it in the colours of the contract."""
        fill, stroke = self.theme.box, self.theme.line
        if accent:
            fill, stroke = self.theme.band, self.theme.accent
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="1.5"/>'
        )

    def text(
        self, x: int, y: int, words: str, *, size: int = 13, bold: bool = False,
        mono: bool = False, color: str | None = None, anchor: str = "middle",
    ) -> None:  # fmt: skip
        """Write one line of text whose baseline is at `y`."""
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x}" y="{y}" font-family="{MONO if mono else SANS}" font-size="{size}"'
            f'{weight} text-anchor="{anchor}" fill="{color or self.theme.ink}">{escape(words)}'
            "</text>"
        )

    def path(self, steps: str, *, arrow: bool = False, dotted: bool = False) -> None:
        """Draw a line along SVG path steps; `dotted` draws it in the colour of the contract."""
        stroke = self.theme.accent if dotted else self.theme.line
        extra = ' stroke-dasharray="2 4"' if dotted else ""
        extra += ' marker-end="url(#head)"' if arrow else ""
        self.shapes.append(
            f'<path d="{steps}" fill="none" stroke="{stroke}" stroke-width="1.5"{extra}/>'
        )

    def svg(self) -> str:
        """Return the picture as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'width="{WIDTH}" height="{HEIGHT}" role="img">\n'
            "<title>From a trained model to an answer on a device</title>\n"
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0.5 L7.5 4 L0 7.5 z" '
            f'fill="{self.theme.line}"/></marker></defs>\n'
        )
        return head + "\n".join(self.shapes) + "\n</svg>\n"


def draw(theme: Theme) -> str:
    """Return the picture in the colours of `theme`, as SVG."""
    canvas = Canvas(theme)
    _models(canvas)
    _runtimes(canvas)
    _predictor(canvas)
    _contract(canvas)
    return canvas.svg()


def _models(canvas: Canvas) -> None:
    canvas.box(16, MIDDLE - 84, 168, 168)
    canvas.text(100, MIDDLE - 56, "trained model", size=15, bold=True)
    for row, words in enumerate((".ckpt", ".pth  .pt", ".safetensors", ".onnx", "torch.nn.Module")):
        canvas.text(100, MIDDLE - 28 + 23 * row, words, mono=True, color=canvas.theme.faint)
    canvas.path(f"M184 {MIDDLE} H292", arrow=True)
    canvas.text(237, MIDDLE - 10, "export", mono=True)

    canvas.box(294, MIDDLE - 56, 138, 112)
    canvas.text(363, MIDDLE - 26, "ONNX", size=15, bold=True)
    for row, words in enumerate(("fp32, int8", "conv3d, conv2d")):
        canvas.text(363, MIDDLE + 4 + 23 * row, words, mono=True, color=canvas.theme.faint)


def _runtimes(canvas: Canvas) -> None:
    left, right, height = 540, 758, 58
    canvas.path(f"M432 {MIDDLE} H486")
    for row, (name, files, device) in enumerate(RUNTIMES):
        center = MIDDLE + (row - 2) * 68
        canvas.path(f"M486 {MIDDLE} V{center} H{left - 2}", arrow=True)
        canvas.box(left, center - height // 2, right - left, height)
        canvas.text(left + 14, center - 5, name, size=14, bold=True, anchor="start")
        canvas.text(
            left + 14, center + 16, device, size=12, anchor="start", color=canvas.theme.faint
        )
        canvas.text(
            right - 12, center + 16, files, size=12, mono=True, anchor="end",
            color=canvas.theme.faint,
        )  # fmt: skip
        canvas.path(f"M{right} {center} H800 V{MIDDLE}")


def _predictor(canvas: Canvas) -> None:
    canvas.path(f"M800 {MIDDLE} H836", arrow=True)
    canvas.box(838, MIDDLE - 84, 146, 168)
    canvas.text(911, MIDDLE - 52, "Predictor", size=15, bold=True)
    for row, words in enumerate(("predict(video)", "stream(camera)")):
        canvas.text(911, MIDDLE - 20 + 24 * row, words, mono=True, color=canvas.theme.faint)
    canvas.text(911, MIDDLE + 44, "label, score,", color=canvas.theme.faint)
    canvas.text(911, MIDDLE + 63, "coverage, timing", color=canvas.theme.faint)


def _contract(canvas: Canvas) -> None:
    top = 382
    for x, side, words in CHECKS:
        canvas.path(f"M{x} {MIDDLE + 12} V{top}", dotted=True)
        for row, line in enumerate(words):
            left = x - 9 if side == "end" else x + 9
            canvas.text(
                left, top - 36 + 17 * row, line, size=12, anchor=side, color=canvas.theme.accent
            )
    canvas.box(16, top, 968, 52, accent=True)
    canvas.text(
        500, top + 22, "the contract, in every file and checked at every arrow", size=14, bold=True
    )
    canvas.text(
        500, top + 41,
        CONTENTS,
        size=12, color=canvas.theme.faint,
    )  # fmt: skip


def main() -> None:
    """Write both pictures."""
    for name, theme in THEMES.items():
        (ASSETS / f"overview-{name}.svg").write_text(draw(theme), encoding="utf-8")


if __name__ == "__main__":
    main()
