"""Who may import whom, and what an import may cost."""

import ast
import functools
import graphlib
import json
import subprocess
import sys

import pytest
from paths import ROOT

from r2p_edge.runtimes import RUNTIMES

# Rooms from the ground up: each imports from rooms before the last "<", and from itself.
RANKS = {
    "r2p_edge": "_version _telemetry addresses private_files < errors orientation < spec web"
    " frame _optional text_table model_names < pictures < prediction"
    " < artifact preprocess agreement scores _isolated page"
    " < runtimes video < per_frame < live doctor model_checks reopening features"
    " < model_calls streaming < two_stream_calls < predictor"
    " < segments sheet watch compare demo info archive serve serve_export"
    " < integrations benchmark teaching __init__"
    " < cli"
    " < __main__",
    "export": "foreign_parts < foreign_formats < recognition < foreign_files < foreign_folders"
    " < labels npz_file packages pixels published warned < checkpoints < recipe"
    " < absent causal_weights graph presets"
    " < source verify < onnx_source < contract < doubts targets"
    " < module_source onnx_forms replacing target_checks taught form_maker < build __init__",
    "calibration": "blank evaluation_text histograms label_order motion_look placement __init__"
    " < lists catalogue < answered split_file < matching tally"
    " < examined ucf101 motion_scene clip_feed qdq qdq_rules"
    " < manifest motion one_pass ranges sensitivity report"
    " < learnt"
    " < dataset clipset evaluate quantize tick_streams < accuracy causal_material form_agreement"
    " < calibrate causal_fit < adapt",
    "training": "__init__ device kept_material network state < causal files recipe rounding sets"
    " < distil views < tune",
}
PACKAGES = list(RANKS)  # each stands on those before it, and only the command line reaches up
RANK = {
    (package, room): rank
    for package, law in RANKS.items()
    for rank, rooms in enumerate(law.split(" < "))
    for room in rooms.split()
}
LIBRARIES = set(RUNTIMES)
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def name_of(path):
    """Return the name under which a file is imported, that of a package with `__init__`."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name if name.startswith("r2p_edge.") else f"r2p_edge.{name}"


MODULES = {name_of(path): path for path in FILES}
each_module = pytest.mark.parametrize("module", MODULES)


@functools.cache
def imports(module):
    """Return (name, inside a function) of all that a module imports, except for type checkers."""

    def walk(node, inside):
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                source = "." * child.level + (child.module or "")
                yield from ((module_in(source, alias.name), inside) for alias in child.names)
            else:
                yield from walk(child, deeper)

    return list(walk(ast.parse(MODULES[module].read_text()), False))


def module_in(source, name):
    """Return the module that `from source import name` reads, with `__init__` for a package."""
    found = (f"{source}.{name}", f"{source}.{name}.__init__", f"{source}.__init__", source)
    return next((module for module in found if module in MODULES), source)


def room_of(module):
    """Return the package and the room of a module of ours."""
    first, *rest = module.split(".")[1:]
    return (first, rest[0]) if first in PACKAGES else ("r2p_edge", first)


@each_module
def test_a_room_imports_from_below(module):
    package, room = room_of(module)
    for name, inside in imports(module):
        assert not name.startswith("."), f"{module} imports {name}"
        if name not in MODULES or room_of(name) == (package, room):
            continue
        other, below = room_of(name)
        if PACKAGES.index(other) > PACKAGES.index(package):
            assert inside, f"{module} imports {name} outside a function"
            assert package == "r2p_edge"
            assert room in {"cli", "demo", "benchmark", "teaching"}
        elif other == package:
            assert RANK[other, below] < RANK[package, room], f"{module} imports {name}"


def test_there_is_no_circle():
    graph = {module: {name for name, _ in imports(module)} - {module} for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


@each_module
def test_a_runtime_is_imported_in_its_own_file_only(module):
    package, room = room_of(module)
    for name, inside in imports(module):
        if package == "r2p_edge" and name.split(".")[0] in LIBRARIES:
            assert room == "runtimes"
            assert inside, f"{module} imports {name} before it is asked for"


def modules_after(statement):
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def packages(modules):
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("statement", ["import r2p_edge", "from r2p_edge import *"])
def test_importing_the_package_brings_in_numpy_alone(statement):
    more = packages(modules_after(statement)) - packages(modules_after("import numpy"))
    assert more - set(sys.stdlib_module_names) == {"r2p_edge"}


@pytest.mark.slow
def test_importing_the_package_is_quick():
    """Hold by what is imported that the figures of tests/benchmarks/startup.py stay small."""
    more = modules_after("import numpy, r2p_edge") - modules_after("import numpy")
    assert {name for name in more if name.startswith("r2p_edge")} == {
        "r2p_edge",
        "r2p_edge._version",
    }
    more = modules_after("import numpy; from r2p_edge import *") - modules_after("import numpy")
    slow = {"argparse", "asyncio", "concurrent.futures", "http.client", "importlib.metadata"}
    slow |= {"multiprocessing", "socket", "ssl", "subprocess", "tempfile", "unittest", "zipfile"}
    assert not more & slow


def test_a_predictor_is_imported_without_the_parts_of_streams():
    assert not {
        name
        for name in modules_after("from r2p_edge import Predictor")
        if name.startswith("r2p_edge.live")
    }


@pytest.mark.slow
def test_importing_the_command_line_and_the_exporter_brings_in_no_library():
    heavy = {"onnx", "torch", "mindspore", "cv2", "av", "onnxruntime", "openvino", "safetensors"}
    for statement in (
        "import r2p_edge.cli",
        "import r2p_edge.export",
        "import r2p_edge.calibration.motion",
        "import r2p_edge.demo",
    ):
        assert not packages(modules_after(statement)) & heavy, statement
