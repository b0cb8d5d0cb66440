"""Damage to a report of doctor in which all is well."""

from __future__ import annotations

INSTALL = {
    "onnxruntime": "pip install onnxruntime",
    "openvino": "pip install openvino",
}


def without_extension(report):
    report["kernel"] = {"compiled": False, "reason": "no module", "install": "compile it"}


def without_extension_and_opencv(report):
    without_extension(report)
    report["decoders"]["opencv"]["status"] = "missing"


def without_pyav(report):
    report["decoders"]["pyav"] |= {"status": "broken", "reason": "no libz", "decoders": {}}


def without_runtimes(report):
    for name, found in report["runtimes"].items():
        found |= {"status": "missing", "version": None, "devices": [], "install": INSTALL[name]}


def without_av1(report):
    report["decoders"]["pyav"]["decoders"]["av1"] = False
