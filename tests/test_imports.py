"""Who may import whom, and what an import may cost."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEVICE = sorted((ROOT / "r2p_edge").rglob("*.py"))
HOST = sorted([*(ROOT / "export").glob("*.py"), *(ROOT / "calibration").glob("*.py")])

# A module imports only from ranks below its own, or from its own package.
RANKS = (
    {"_version", "errors", "_protobuf", "_openvino_ir"},
    {"_checks", "_plan", "_frames_arguments"},
    {"spec", "_frames_py"},
    {"artifact", "_child", "agreement", "_cpu"},
    {"_files"},
    {"bundle"},
    {"runtimes"},
    {"_probe"},
    {"sampling", "_planes", "_container"},
    {"videofile"},
    {"video", "preprocess"},
    {"prediction"},
    {"clips", "_decision", "_gate", "_systemd"},
    {"_buffer"},
    {"_live"},
    {"_address"},
    {"_capture", "stream"},
    {"_answers"},
    {"predictor"},
    {"compare", "__init__"},
    {"demo", "doctor"},
    {"cli"},
    {"__main__"},
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


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: path.name)
def test_device_side_imports_from_below(path):
    mine = module_of(path)
    for module, _, names in imports(path):
        if not module.startswith("r2p_edge"):
            continue
        below = module.split(".")[1:2] or list(names)
        for other in below:
            if other in ("export", "calibration", "_frames") or other == mine:
                continue
            assert rank(other) < rank(mine), f"{path.name} imports {other}"


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: path.name)
def test_only_cli_and_demo_reach_for_the_host_side(path):
    for module, inside, _ in imports(path):
        if module.startswith(("r2p_edge.export", "r2p_edge.calibration")):
            assert path.name in ("cli.py", "demo.py"), f"{path.name} imports {module}"
            assert inside, f"{path.name} imports {module} outside a function"


@pytest.mark.parametrize("path", DEVICE, ids=lambda path: path.name)
def test_a_runtime_is_imported_in_its_own_file_only(path):
    for module, inside, _ in imports(path):
        library = module.split(".")[0]
        if library in RUNTIMES:
            assert path.parent.name == "runtimes"
            assert inside, f"{path.name} imports {module} before it is asked for"


@pytest.mark.parametrize("path", HOST, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_host_side_imports_siblings_relatively(path):
    for module, _, _ in imports(path):
        assert not module.startswith(f"r2p_edge.{path.parent.name}"), f"{path} imports {module}"
        assert not module.startswith(".."), f"{path} imports {module}"


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
