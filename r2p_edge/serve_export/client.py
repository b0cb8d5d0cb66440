"""The files beside a model for people: its labels, the instructions, and a small client.

The client speaks KServe v2 over HTTP and needs no library but ours.
"""

from __future__ import annotations

import json
from pathlib import Path

from r2p_edge._version import __version__
from r2p_edge.serve_export.served import ServedModel

LABELS = "labels.txt"
"""Name of the file with the name of each class."""

_CLIENT = '''\
"""Ask the server about a video: python client.py VIDEO [ADDRESS], by default 127.0.0.1:8000.

The video is read here, as the contract says, and its clip sent; needs r2p_edge and no runtime.
"""

import json
import struct
import sys
import urllib.request
from pathlib import Path

from r2p_edge import ModelSpec
from r2p_edge.video.clip_reader import ClipReader

MODEL, INPUT, OUTPUT, CLIPS = {name}, {input}, {output}, {clips}
video, address = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8000"
spec = ModelSpec.from_file(Path(__file__).with_name("r2p_edge.json"))
reader = ClipReader(spec)
clip = reader.preprocessor.tensor(reader.read(video).pixels[0])
data = clip.tobytes() * CLIPS

size = {{"binary_data_size": len(data)}}
shape = [CLIPS, *clip.shape[1:]]
tensor = {{"name": INPUT, "shape": shape, "datatype": {datatype}, "parameters": size}}
wanted = {{"name": OUTPUT, "parameters": {{"binary_data": True}}}}
head = json.dumps({{"inputs": [tensor], "outputs": [wanted]}}).encode()
request = urllib.request.Request(
    f"http://{{address}}/v2/models/{{MODEL}}/infer",
    head + data,
    {{"Inference-Header-Content-Length": str(len(head))}},
)
with urllib.request.urlopen(request) as response:
    length = int(response.headers["Inference-Header-Content-Length"])
    response.read(length)
    answers = struct.unpack(f"<{{len(spec.labels)}}f", response.read(4 * len(spec.labels)))
for answer, label in sorted(zip(answers, spec.labels), reverse=True)[:5]:
    print(f"{{answer:9.4f}}  {{label}}")
'''


def write_labels(model: ServedModel, folder: Path) -> None:
    """Write the names of a model's classes into its folder, one in each line."""
    text = "".join(f"{label}\n" for label in model.spec.labels)
    (folder / LABELS).write_text(text, encoding="utf-8")


def write_instructions(model: ServedModel, folder: Path, readme: str, **more: str) -> None:
    """Write README.md and client.py into the folder of a model.

    Args:
        model: the model.
        folder: its folder.
        readme: the instructions, with {name}, {version} of this package, {file} that the model
            comes from, {kind} of its outputs, and the names of `more`.
        more: texts for them.
    """
    text = readme.format(
        name=model.name,
        version=__version__,
        file=model.artifact.path.name,
        kind=model.spec.output.kind,
        **more,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "client.py").write_text(_client(model), encoding="utf-8")


def _client(model: ServedModel) -> str:
    """Return the code of the client of a model."""
    taken, given = model.tensors
    datatype = {"uint8": "UINT8", "float32": "FP32"}[model.spec.input.dtype]
    return _CLIENT.format(
        name=json.dumps(model.name),
        input=json.dumps(taken.name),
        output=json.dumps(given.name),
        clips=max(taken.shape[0], 1),
        datatype=json.dumps(datatype),
    )
