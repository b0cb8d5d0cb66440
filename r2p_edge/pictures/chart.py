"""A bar chart of an answer, drawn by Matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from r2p_edge._optional import import_library

if TYPE_CHECKING:
    from r2p_edge.prediction import Prediction


def plot_scores(prediction: Prediction, top: int, axes: Any) -> Any:
    """Draw the best classes of an answer as bars; see `Prediction.plot`."""
    import_library("matplotlib", "run: pip install matplotlib")
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(figsize=(6, 0.5 + 0.35 * top), layout="constrained")[1]
    best = prediction.top(top)
    labels, scores = [label for label, _ in best], [score for _, score in best]
    bars = axes.barh(range(len(best)), scores)
    axes.bar_label(bars, [prediction.shown(score).strip() for score in scores], padding=3)
    # Not as formulas, which a "$" in a name would begin.
    axes.set_yticks(range(len(best)), labels, parse_math=False)
    axes.invert_yaxis()
    if prediction.kind != "values":
        axes.set_xlim(0, 1.15)  # with room for "100.00%"
    axes.set_xlabel("value" if prediction.kind == "values" else "probability")
    axes.set_title(f"looked at {prediction.seen()}" if prediction.seen() else "")
    return axes
