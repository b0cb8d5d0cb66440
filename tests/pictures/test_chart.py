"""Answers as a chart of Matplotlib."""

import dataclasses
import sys

import pytest
from answers import prediction
from requirements import needs

from r2p_edge.errors import MissingDependencyError


@pytest.mark.slow
@needs("matplotlib")
def test_the_best_classes_are_bars():
    import matplotlib

    matplotlib.use("Agg")
    answer = dataclasses.replace(prediction(), labels=("$jump", "a$run$_", "walk"), duration=9.0)
    axes = answer.plot(top=2)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.3])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a$run$_", "walk"]
    assert axes.get_title() == "looked at 2 clips from 0.5 to 1.2 of 9.0 s"
    axes.figure.canvas.draw()  # a "$" is no formula
    assert answer.plot(axes=axes) is axes


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="pip install matplotlib"):
        prediction().plot()
