"""The small client that is written into a repository: KServe v2 over HTTP, no library but ours."""

from __future__ import annotations

import json

from r2p_edge.serve_export.served import ServedModel

CLIENT = "client.py"
"""Name of the client's file."""

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


def client_text(model: ServedModel) -> str:
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
