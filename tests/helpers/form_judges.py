"""A judge of forms with state that measures on one clip."""

from __future__ import annotations

from r2p_edge.export.verify.synthetic_clips import verification_clips


class Judge:
    """Says what it is told to say, and counts how often it is asked."""

    def __init__(self, error=None):
        self.error, self.asked = error, 0

    def check(self, spec):
        pass

    def measure(self, run, answer, spec, wait, progress=None):
        self.asked += 1
        if self.error is not None:
            raise self.error
        clip = verification_clips(spec, 1)[0]
        for frame in clip:
            run.step(frame)
        border = run.borders[0]
        if border == "flush":
            assert run.answer(border).argmax() == answer(clip).argmax()
        self.waited, self.answered = wait, run.answer(border)
        return {"on": "one clip", border: {"windows": 1, "agree": 1, "interval": [0.2, 1.0]}}
