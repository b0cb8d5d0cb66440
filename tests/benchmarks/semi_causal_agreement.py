"""Agreement of the semi-causal form of the bundled model with the clip model, for each wait.

    python tests/benchmarks/semi_causal_agreement.py [WEIGHTS.npz | --stages 1,2] [--videos DIR]

By default with the weights that the model is shipped with; with `--stages` those of the clip model
are unchanged. Three streams of the generator's test split:
240 scenes of 20 ticks back to back, with one window in each; 60 uncut scenes of 120 ticks, with two
windows in each but the first; and 40 rows of six different scenes of one class. With `--videos`
also the recordings in a folder. An answer that is read some ticks after a window's last frame is
compared with the clip model's answer for that window.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy as np
from _harness import machine

from r2p_edge.artifact.open import open_artifact
from r2p_edge.calibration.form_agreement import AgreementCount
from r2p_edge.calibration.tick_streams import (
    recordings,
    scenes_of_one_class,
    scenes_with_cuts,
    uncut_scenes,
)
from r2p_edge.export.build import build
from r2p_edge.export.causal_weights import bundled_causal_weights, read_causal_weights
from r2p_edge.export.graph.model import load_onnx
from r2p_edge.export.graph.per_frame.forms import semi_causal_form
from r2p_edge.export.verify.ort_session import open_session
from r2p_edge.export.verify.per_frame_run import PerFrameRun
from r2p_edge.video.video_folder import videos_in

LONGEST = 12  # ticks of wait


class Watched:
    """Answers of a form at each tick, and of the clip model for each window of a stream."""

    def __init__(self, streams, run, answer, frames):
        self.counts = {wait: AgreementCount() for wait in range(LONGEST + 1)}
        for stream in streams:
            run.reset()
            found, wanted, recent = [], {}, deque(maxlen=frames)
            for tick, frame in enumerate(stream.frames):
                found.append(int(run.step(frame)[0].argmax()))
                recent.append(frame)
                if tick in stream.ends:
                    wanted[tick] = int(answer(np.stack(recent)).argmax())
            for end, best in wanted.items():
                for wait, count in self.counts.items():
                    if end + wait < len(found):
                        count.windows += 1
                        count.agree += found[end + wait] == best


def main() -> None:
    """Print, for each stream and wait, how many windows have the clip model's best class."""
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("weights", nargs="?", type=Path, metavar="WEIGHTS.npz")
    which.add_argument("--stages", help="last stages that stay, of unchanged weights")
    parser.add_argument("--model", type=Path, help="fp32 ONNX artifact (default: motion)")
    parser.add_argument("--videos", type=Path, metavar="DIR")
    parser.add_argument("--scale", type=float, default=1, help="share of the streams to take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    weights = None
    if options.weights is not None:
        weights = read_causal_weights(options.weights)
    elif options.stages is None:
        weights = bundled_causal_weights()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model
        if path is None:
            path = build("motion", targets=["onnx"], out=folder).built[0].path
        spec, model, session = open_artifact(path).spec, load_onnx(path), open_session(path)

        def answer(clip):
            return session.run([spec.output.name], {spec.input.name: clip[None]})[0][0]

        def streams():
            scale = options.scale
            yield "cuts", [scenes_with_cuts(spec, "test", round(240 * scale))]
            yield "uncut", [uncut_scenes(spec, "test", round(60 * scale))]
            yield "one class", [scenes_of_one_class(spec, "test", round(40 * scale))]
            if options.videos:
                videos = videos_in(options.videos)
                random.Random(0).shuffle(videos)
                yield "recordings", recordings(spec, videos, late=LONGEST, most=round(300 * scale))

        report = {"machine": machine(), "stages": {}}
        numbers = [weights.stages] if weights else list(map(int, options.stages.split(",")))
        for stages in numbers:
            constants = weights.constants if weights else None
            form = semi_causal_form(model, spec, stages, weights=constants)
            run, rows = PerFrameRun(form, spec.clip.frames), {}
            for name, each in streams():
                began = time.process_time()
                counts = Watched(each, run, answer, spec.clip.frames).counts
                rows[name] = {wait: count.record() for wait, count in counts.items()}
                shares = ", ".join(f"{wait}: {count.share:.2%}" for wait, count in counts.items())
                print(
                    f"{stages} stages, {name}, {counts[0].windows} windows, ticks of wait: "
                    f"{shares}; {time.process_time() - began:.0f} s of CPU",
                    flush=True,
                )
            report["stages"][stages] = rows
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
