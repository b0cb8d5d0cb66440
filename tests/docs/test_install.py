"""Installing: pages, messages and scripts name only what is there to be installed.

No package index has r2p_edge, and anybody could register its name there: it is installed from a
checkout (`-e .`) or from a file. Libraries go by the names that the package's metadata have.
"""

import re
from importlib import metadata

import pytest
from paths import ROOT

PLACES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "setup.py", "noxfile.py"]
PLACES += ["docs", "examples", "r2p_edge", "export", "calibration", ".ci", ".github"]
TEXTS = {
    str(file.relative_to(ROOT)): file.read_text()
    for place in PLACES
    for file in [ROOT / place, *(ROOT / place).rglob("*")]
    if file.is_file() and file.suffix in (".md", ".py", ".sh", ".yml", ".toml", ".txt", "")
}
COMMAND = re.compile(r"pip3?\"? install ([^\n`;|&)]*)")
BY_NAME = re.compile(r"(?<![\w./$*-])r2p[_-]edge(?=[\"'\[\s,]|$)(?!\[[\w,-]+\] @ file:)")
FIRST = re.compile(r"pip install \"?([A-Za-z][\w-]*)")
# Of the package itself, of the machine's kind, or what brings and converts others' files.
OF_NO_EXTRA = {
    *("av", "numpy", "tensorrt", "onnxscript", "tf2onnx", "paddle2onnx", "jax2onnx"),
    *("huggingface_hub", "nncf", "rknn-toolkit-lite2"),
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_nobody_is_told_to_install_the_package_by_its_name(name):
    assert [each for each in COMMAND.findall(TEXTS[name]) if BY_NAME.search(each)] == []


@pytest.mark.parametrize(
    "text",
    ['(pip install "r2p_edge[onnx]")', "`pip install r2p-edge`", "pip3 install -U r2p_edge, then"],
)
def test_a_name_would_be_found(text):
    (command,) = COMMAND.findall(text)
    assert BY_NAME.search(command)


def test_messages_name_libraries_of_the_extras():
    wanted = metadata.requires("r2p_edge")
    known = OF_NO_EXTRA | {re.match(r"[\w.-]+", each)[0] for each in wanted} - {"r2p_edge"}
    told = {
        name
        for file, text in TEXTS.items()
        if file.startswith(("r2p_edge/", "export/", "calibration/", "setup.py"))
        for name in FIRST.findall(text)
    }
    assert told - {"the"} <= known  # "pip install the file"
    assert {"onnxruntime", "openvino", "mindspore", "opencv-python-headless"} <= told
