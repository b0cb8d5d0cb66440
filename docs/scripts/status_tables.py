"""The tables of what each runtime, device and source was tested on, in README and pages.

    python docs/scripts/status_tables.py

writes them between `<!-- status: NAME -->` and `<!-- end -->`. `FACTS` is the one place where a
state is said. `tests/docs/test_status.py` holds the pages to this file, and after a whole run
`tests/helpers/check_proofs.py` holds this file to the tests that passed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

State = Literal["real library", "real builder, no device", "stand-in", "untested", "not supported"]


class Fact(NamedTuple):
    """State of one thing that tables have a row for.

    Attributes:
        state: what it was tested on.
        proofs: the tests, "file::function" below `tests/`.
        script: a script of the repository that tries it by hand, instead of tests.
        remark: what a reader must know besides.
    """

    state: State
    proofs: tuple[str, ...] = ()
    script: str = ""
    remark: str = ""


FACTS = {
    "onnxruntime": Fact(
        "real library", ("cli/test_demo.py::test_demo_has_a_row_for_each_runtime",)
    ),
    "onnxruntime on aarch64": Fact(
        "real library", script=".ci/aarch64", remark="on an emulated processor"
    ),
    "onnxruntime elsewhere": Fact("untested"),
    "openvino": Fact(
        "real library",
        (
            "runtimes/test_openvino.py::test_answers_are_those_of_onnxruntime",
            "cli/test_demo.py::test_demo_has_a_row_for_each_runtime",
        ),
    ),
    "openvino elsewhere": Fact("untested"),
    "tensorrt": Fact(
        "stand-in",
        (
            "cli/test_tensorrt.py::test_from_weights_to_an_answer",
            "runtimes/tensorrt/test_runtime.py::test_answers_are_those_of_onnxruntime",
        ),
    ),
    "tensorrt 8.4": Fact("not supported"),
    "tensorrt for rtx": Fact(
        "real builder, no device",
        (
            "export/targets/tensorrt_rtx/test_builder.py::test_an_export_without_a_card",
            "export/targets/tensorrt_rtx/test_builder.py::test_every_form_builds_for_every_chip_that_our_table_allows",
        ),
    ),
    "mindspore": Fact(
        "real library",
        (
            "runtimes/test_mindspore.py::test_answers_are_those_of_onnxruntime",
            "export/targets/mindspore/test_export.py::test_r2plus1d_answers_as_its_source",
        ),
    ),
    "mindspore lite": Fact(
        "real library",
        ("export/targets/mindspore_lite/test_real.py::test_the_bundled_model",),
        remark="2.0 on x86-64; later releases: stand-in",
    ),
    "mindspore lite on ascend": Fact("stand-in", ("cli/test_mindspore.py::test_for_an_ascend",)),
    "acl": Fact(
        "stand-in",
        (
            "runtimes/test_acl.py::test_an_offline_model",
            "runtimes/test_acl.py::test_the_calls_are_those_of_the_reference",
        ),
    ),
    "om": Fact("stand-in", ("runtimes/test_ais_bench.py::test_an_offline_model",)),
    "rknn simulator": Fact("real library", script=".ci/full"),
    "rknn": Fact(
        "stand-in",
        ("runtimes/rknn/test_runtime.py::test_a_board",),
        remark="and Rockchip's own simulator",
    ),
    "files": Fact(
        "real library",
        (
            "video/test_file.py::test_every_frame_is_opencvs",
            "live/capture/test_file.py::test_a_file_on_a_server_is_a_file",
        ),
    ),
    "rtsp": Fact(
        "real library", ("live/capture/test_rtsp.py::test_a_server_that_is_killed_twice",)
    ),
    "pipelines": Fact(
        "real library",
        (
            "live/test_gstreamer.py::test_a_pipeline_is_watched_to_its_end",
            "live/test_gstreamer.py::test_an_rtsp_server_that_is_killed_twice",
        ),
    ),
    "cameras": Fact("stand-in", ("live/capture/test_opencv.py::test_decoding_is_timed",)),
    "jetson": Fact("stand-in", ("boards/test_jetson.py::test_a_stranger_follows_the_readme",)),
    "atlas": Fact("stand-in", ("boards/test_atlas.py::test_a_strangers_walk",)),
    "rockchip": Fact("stand-in", ("boards/test_rockchip.py::test_a_stranger_follows_the_readme",)),
}


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        page: path from the root of the repository.
        columns: headings, without that of the last column, which is the state.
        rows: cells, and the name of the fact that gives the state.
    """

    page: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


TABLES = {
    "runtimes": Table(
        "README.md",
        ("runtime", "files", "device"),
        (
            ("ONNX Runtime", "`.onnx`", "CPU, x86-64", "onnxruntime"),
            ("", "", "CPU, aarch64", "onnxruntime on aarch64"),
            ("", "", "`cuda`, `coreml` and others", "onnxruntime elsewhere"),
            ("OpenVINO", "`.xml`, `.onnx`", "CPU, x86-64", "openvino"),
            ("", "", "CPU on aarch64, `gpu`, `npu`", "openvino elsewhere"),
            ("TensorRT 8.6 to 11", "`.engine`, `.plan`", "NVIDIA GPU, Jetson", "tensorrt"),
            ("TensorRT for RTX", "`.engine`, `.plan`", "GeForce and RTX cards", "tensorrt for rtx"),
            ("MindSpore 2.10", "`.mindir`", "CPU, x86-64", "mindspore"),
            ("MindSpore Lite", "`.mindir`", "CPU", "mindspore lite"),
            ("", "`.mindir`", "Ascend 310, 310P, 310B", "mindspore lite on ascend"),
            ("acl (CANN's pyACL)", "`.om`", "Ascend 310, 310P, 310B", "acl"),
            ("ais_bench", "`.om`", "Ascend 310, 310P, 310B", "om"),
            ("RKNN", "`.rknn`", "RK3588, RK3576, RK356x", "rknn"),
            ("Video: files, HTTP", "", "", "files"),
            ("Video: RTSP", "", "", "rtsp"),
            ("Video: GStreamer pipelines", "", "", "pipelines"),
            ("Video: USB cameras", "", "", "cameras"),
        ),
    ),
    "onnxruntime": Table(
        "docs/runtimes/onnxruntime.md",
        ("files", "devices"),
        (
            ("`.onnx`, fp32 and int8", "`cpu` on x86-64", "onnxruntime"),
            ("", "`cpu` on aarch64", "onnxruntime on aarch64"),
            ("", "`cuda`, `coreml` and others, from other wheels", "onnxruntime elsewhere"),
        ),
    ),
    "openvino": Table(
        "docs/runtimes/openvino.md",
        ("files", "devices"),
        (
            (
                "`.xml` with `.bin`; `.onnx` with `--runtime openvino`",
                "`cpu` on x86-64",
                "openvino",
            ),
            ("", "`cpu` on aarch64", "openvino elsewhere"),
            ("", "`gpu`, `npu` (fp16 only)", "openvino elsewhere"),
        ),
    ),
    "tensorrt": Table(
        "docs/runtimes/tensorrt.md",
        ("system", "TensorRT", "Python", "how precision is chosen"),
        (
            ("JetPack 5", "8.4, 8.5", "3.8", "", "tensorrt 8.4"),
            ("JetPack 6.0", "8.6", "3.10", "builder flags", "tensorrt"),
            ("JetPack 6.1, 6.2", "10.3", "3.10", "builder flags", "tensorrt"),
            ("JetPack 7.0, 7.1 (Thor)", "10.13", "3.12", "builder flags", "tensorrt"),
            ("JetPack 7.2", "10.16", "3.12", "builder flags", "tensorrt"),
            ("JetPack 7.2.2 and later", "11.4", "3.12", "types in the ONNX file", "tensorrt"),
            (
                "Linux PC, `pip install tensorrt` (driver r580 or later)",
                "11",
                "3.10 to 3.14",
                "types in the ONNX file",
                "tensorrt",
            ),
            (
                'Linux PC, `pip install "tensorrt-cu12<11"`',
                "10",
                "3.10 to 3.13",
                "builder flags",
                "tensorrt",
            ),
        ),
    ),
    "rtx": Table(
        "docs/runtimes/tensorrt-rtx.md",
        ("files", "devices"),
        (
            (
                "`.engine`, `.plan`",
                "`cuda`: Turing, Ampere, Ada, Blackwell (`sm75` to `sm121` below)",
                "tensorrt for rtx",
            ),
        ),
    ),
    "mindspore": Table(
        "docs/runtimes/mindspore.md",
        ("runtime", "files", "device"),
        (
            ("MindSpore 2.10", "`.mindir`", "`cpu` on x86-64", "mindspore"),
            ("MindSpore Lite", "`.mindir`", "`cpu`", "mindspore lite"),
            ("", "`.mindir`", "`ascend` (310, 310P, 310B), fp16", "mindspore lite on ascend"),
            ("acl (CANN's pyACL)", "`.om`", "`ascend`", "acl"),
            ("ais_bench", "`.om`", "`ascend`", "om"),
        ),
    ),
    "rknn": Table(
        "docs/runtimes/rknn.md",
        ("files", "devices"),
        (
            (
                "`.rknn`",
                "`simulator`, of RKNN-Toolkit2 2.5.0, on x86-64",
                "rknn simulator",
            ),
            ("", "`npu` of a board", "rknn"),
        ),
    ),
    "devices": Table(
        "docs/devices/index.md",
        ("board", "runtime", "graph", "precision"),
        (
            (
                "PC, x86-64",
                "ONNX Runtime, OpenVINO",
                "conv3d, conv2d",
                "fp32, int8; OpenVINO fp16, bf16",
                "openvino",
            ),
            ("", "MindSpore", "conv3d, conv2d", "fp32", "mindspore"),
            (
                "PC with a GeForce or RTX card",
                "TensorRT for RTX",
                "conv3d",
                "fp32, fp16, int8",
                "tensorrt for rtx",
            ),
            (
                "CPU of an aarch64 board",
                "ONNX Runtime",
                "conv3d",
                "fp32, int8",
                "onnxruntime on aarch64",
            ),
            ("Jetson Orin, JetPack 6.0", "TensorRT 8.6", "conv3d", "fp16, int8", "jetson"),
            ("Jetson Orin, JetPack 6.1, 6.2", "TensorRT 10.3", "conv3d", "fp16, int8", "jetson"),
            ("Jetson Thor, JetPack 7.0, 7.1", "TensorRT 10.13", "conv3d", "fp16, int8", "jetson"),
            ("Jetson Orin, Thor, JetPack 7.2", "TensorRT 10.16", "conv3d", "fp16, int8", "jetson"),
            ("Jetson Orin, Thor, later", "TensorRT 11.4", "conv3d", "fp16, int8", "jetson"),
            (
                "Atlas 300I (310)",
                "acl (`.om`); MindSpore Lite",
                "conv3d, else conv2d",
                "fp16",
                "atlas",
            ),
            (
                "Atlas 300I Pro, 300V Pro (310P)",
                "acl (`.om`); MindSpore Lite",
                "conv3d, else conv2d",
                "fp16",
                "atlas",
            ),
            (
                "Atlas 200I DK A2, Orange Pi AIpro (310B)",
                "acl (`.om`); MindSpore Lite",
                "conv2d",
                "fp16",
                "atlas",
            ),
            ("Rockchip RK3588, RK3576, RK356x", "RKNN", "conv2d", "fp16, int8", "rockchip"),
        ),
    ),
}


def markdown(table: Table) -> str:
    """Return a table as the lines of a page."""
    rows = [(*row[:-1], _words(FACTS[row[-1]])) for row in table.rows]
    lines = [f"| {' | '.join(cells)} |\n" for cells in ((*table.columns, "state"), *rows)]
    lines.insert(1, "|---" * (len(table.columns) + 1) + "|\n")
    return re.sub(r"\|  (?=\|)", "| ", "".join(lines))


def _words(fact: Fact) -> str:
    state = f"**{fact.state}**" if fact.state == "untested" else fact.state
    script = f" (`{fact.script}`)" if fact.script else ""
    return state + (f", {fact.remark}" if fact.remark else "") + script


def filled(page: str) -> str:
    """Return the text of a page, given by its path from the root, with its tables filled in."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{markdown(TABLES[match[2]])}\n<!-- end -->"

    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"(<!-- status: (\w+) -->\n).*?<!-- end -->", part, text, flags=re.DOTALL)


def main() -> None:
    """Write the tables into their pages."""
    for page in sorted({table.page for table in TABLES.values()}):
        (ROOT / page).write_text(filled(page), encoding="utf-8")


if __name__ == "__main__":
    main()
