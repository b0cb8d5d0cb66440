"""The stand-in for RKNN-Toolkit-Lite2 beside the real wheel, which runs on aarch64 alone.

R2P_RKNN_LITE_WHEEL names it; it is unpacked and parsed, not installed:

    pip download rknn-toolkit-lite2==2.5.0 --no-deps --python-version 311 \\
        --platform manylinux2014_aarch64 --only-binary=:all:
"""

import ast
import os
import zipfile
from pathlib import Path

import pytest
from fake_rknn import FOLDER
from requirements import is_required

WHEEL = os.environ.get("R2P_RKNN_LITE_WHEEL")
pytestmark = pytest.mark.skipif(
    WHEEL is None and not is_required("rknn_lite_wheel"), reason="R2P_RKNN_LITE_WHEEL names none"
)


def described(source):
    """Return the constants of `RKNNLite`, and its public methods with their parameters."""
    (found,) = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "RKNNLite"
    ]
    constants = {
        ast.unparse(node.targets[0]): ast.literal_eval(node.value)
        for node in found.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("NPU_")
    }
    methods = {
        node.name: ast.unparse(node.args)
        for node in found.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    return constants, methods


def test_names_and_signatures_are_the_wheels():
    with zipfile.ZipFile(WHEEL) as wheel:
        real = described(wheel.read("rknnlite/api/rknn_lite.py").decode())
    ours = described(Path(FOLDER, "board", "rknnlite", "api", "__init__.py").read_text())
    assert ours == real


def test_core_masks_are_the_wheels():
    from r2p_edge.runtimes.rknn.chips import CORE_MASKS

    with zipfile.ZipFile(WHEEL) as wheel:
        constants, _ = described(wheel.read("rknnlite/api/rknn_lite.py").decode())
    named = {f"npu:{name[len('NPU_CORE_') :]}": mask for name, mask in constants.items()}
    named["npu"] = named.pop("npu:AUTO")
    del named["npu:ALL"]  # of chips that are not out yet
    assert named == CORE_MASKS
