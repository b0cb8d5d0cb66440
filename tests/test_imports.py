"""Who may import whom, and what an import may cost."""

import ast
import json
import subprocess
import sys

import pytest
from paths import ROOT

# The command line in two lines, __main__, stands above all.
DEVICE = sorted(set((ROOT / "r2p_edge").rglob("*.py")) - {ROOT / "r2p_edge" / "__main__.py"})
HOST = sorted([*(ROOT / "export").rglob("*.py"), *(ROOT / "calibration").rglob("*.py")])

# A module imports only from ranks below its own, or from its own package.
RANKS = (
    {"_version", "errors", "prediction"},
    {"spec", "frame", "_optional"},
    {"artifact", "preprocess", "agreement", "_isolated"},
    {"runtimes", "video"},
    {"live", "doctor"},
    {"predictor"},
    {"compare", "demo", "info", "__init__"},
    {"cli"},
)
RUNTIMES = {"onnxruntime", "openvino", "tensorrt", "mindspore", "mindspore_lite", "ais_bench"}


def imports(path):
    """(module, inside a function, names) of each import statement of a file."""

    def walk(node, inside):
        for child in ast.iter_child_nodes(node):
            deeper = inside or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside, ()) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                names = tuple(alias.name for alias in child.names)
                yield "." * child.level + (child.module or ""), inside, names
            else:
                yield from walk(child, deeper)

    return list(walk(ast.parse(path.read_text()), False))


def module_of(path):
    return path.relative_to(ROOT / "r2p_edge").parts[0].removesuffix(".py")


def rank(module):
    return next(i for i, modules in enumerate(RANKS) if module in modules)


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: str(path.relative_to(ROOT)))
def test_device_side_imports_from_below(path):
    mine = module_of(path)
    for module, _, names in imports(path):
        if not module.startswith("r2p_edge"):
            continue
        below = module.split(".")[1:2] or list(names)
        for other in below:
            if other in ("export", "calibration") or other == mine:
                continue
            assert rank(other) < rank(mine), f"{path.name} imports {other}"


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_cli_and_demo_reach_for_the_host_side(path):
    for module, inside, _ in imports(path):
        if module.startswith(("r2p_edge.export", "r2p_edge.calibration")):
            assert module_of(path) in ("cli", "demo"), f"{path.name} imports {module}"
            assert inside, f"{path.name} imports {module} outside a function"


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_runtime_is_imported_in_its_own_file_only(path):
    for module, inside, _ in imports(path):
        library = module.split(".")[0]
        if library in RUNTIMES:
            assert module_of(path) == "runtimes"
            assert inside, f"{path.name} imports {module} before it is asked for"


@pytest.mark.parametrize("path", HOST, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_absolute_on_the_host_side(path):
    for module, _, _ in imports(path):
        assert not module.startswith("."), f"{path} imports {module}"


def modules_after(statement):
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_brings_in_numpy_alone():
    more = modules_after("import r2p_edge") - modules_after("import numpy")
    assert more - set(sys.stdlib_module_names) == {"r2p_edge"}


def test_importing_the_command_line_and_the_exporter_brings_in_no_library():
    heavy = {"onnx", "torch", "mindspore", "cv2", "av", "onnxruntime", "openvino", "safetensors"}
    for statement in (
        "import r2p_edge.cli",
        "import r2p_edge.export",
        "import r2p_edge.calibration.motion",
        "import r2p_edge.demo",
    ):
        assert not modules_after(statement) & heavy, statement
