"""Lite's program `converter_lite`, as far as this package calls it, in the library's Python 3.7."""

import sys

import mindspore_lite

flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
converter = mindspore_lite.Converter()
converter.save_type = getattr(mindspore_lite.ModelType, flags["saveType"])
converter.optimize = flags["optimize"]
converter.convert(
    getattr(mindspore_lite.FmkType, flags["fmk"]),
    flags["modelFile"],
    flags["outputFile"],
    "",
    flags.get("configFile", ""),
)
