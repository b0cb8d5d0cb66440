"""A conversion by `mindspore_lite.Converter`, as a program of its own.

The library brings its own protobuf and ONNX definitions, so this imports nothing of the exporter.
"""

from __future__ import annotations

import sys

from r2p_edge.runtimes.mindspore_lite import MindSporeLite


def convert(source: str, output: str, optimize: str, config: str) -> None:
    """Write the ONNX file `source` as `<output>.mindir`.

    Args:
        source: the ONNX file.
        output: path of the result, without its suffix.
        optimize: "general" or "ascend_oriented".
        config: file in the converter's INI format, "" for none.

    Raises:
        BackendError: the library is not installed or cannot be imported.
        RuntimeError: the conversion failed.
    """
    lite = MindSporeLite.library()
    converter = lite.Converter()
    converter.save_type = lite.ModelType.MINDIR
    converter.optimize = optimize
    converter.convert(lite.FmkType.ONNX, source, output, "", config)


if __name__ == "__main__":
    convert(*sys.argv[1:])
