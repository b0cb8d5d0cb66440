"""Agreement of the per-frame form of the bundled model with the clip model, for each of its stages.

    python tests/benchmarks/per_frame_agreement.py [MODEL.onnx] [--stages 1,2,3,4] [--json FILE]

Two streams of the generator's test split: 240 scenes back to back, 20 ticks each, with one window
in the middle of each; and 60 scenes of 120 ticks each, back to back, of the motions that can last,
with two windows in each but the first. Both borders are asked: `flush` computes the last features
as a clip does, with zeros after the last frame, and `wait` has them from the frames that follow.
The full form, of 4 stages, has weights that were trained for zeros where it puts frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from _harness import machine

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.form_agreement import compare_on
from r2p_edge.calibration.tick_streams import scenes_with_cuts, uncut_scenes
from r2p_edge.export.build import build
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.per_frame.forms import per_frame_form
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.per_frame_run import PerFrameRun

SCENES, UNCUT = 240, 60


def main() -> None:
    """Print, for each number of stages, how many windows have the clip model's best class."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--stages", default="1,2,3,4")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model
        if path is None:
            path = build("motion", targets=["onnx"], out=folder).built[0].path
        spec, model = open_artifact(path).spec, load_onnx(path)
        session = open_session(path)

        def answer(clip):
            return session.run([spec.output.name], {spec.input.name: clip[None]})[0][0]

        streams = {
            "cuts": scenes_with_cuts(spec, "test", SCENES),
            "uncut": uncut_scenes(spec, "test", UNCUT),
        }
        frames = {name: list(stream.frames) for name, stream in streams.items()}
        report = {"machine": machine(), "precision": spec.precision, "stages": {}}
        for stages in map(int, options.stages.split(",")):
            form = per_frame_form(model, spec, stages)
            run, rows = PerFrameRun(form, spec.clip.frames), {}
            for name, stream in streams.items():
                began = time.process_time()
                fed = type(stream)(frames[name], stream.ends)
                found = compare_on(run, answer, spec.clip.frames, form.wait, [fed])
                rows[name] = {border: count.record() for border, count in found.items()}
                for border, count in found.items():
                    low, high = count.record()["interval"]
                    print(
                        f"{stages} stages, {name}, {border}: {count.agree} of {count.windows} "
                        f"({count.share:.2%}, {low:.1%} to {high:.1%}), "
                        f"{time.process_time() - began:.0f} s of CPU",
                        flush=True,
                    )
            report["stages"][stages] = {"wait": form.wait, **rows}
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
