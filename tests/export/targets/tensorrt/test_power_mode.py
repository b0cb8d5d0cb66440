"""The power mode of a Jetson."""

import pytest

from r2p_edge.export.targets.tensorrt import power_mode as jetson

MODES = "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"


@pytest.mark.parametrize(
    ("status", "modes", "name"),
    [
        ("pmode:0002 fmode:quiet", MODES, "MAXN_SUPER"),
        ("pmode:0000", MODES, "15W"),
        ("pmode:0009", MODES, "mode 9"),
        ("", MODES, None),
        (None, MODES, None),
        ("pmode:0002", None, None),
    ],
)
def test_the_mode_is_known_by_its_name(monkeypatch, tmp_path, status, modes, name):
    for attribute, text in (("_STATUS", status), ("_MODES", modes)):
        file = tmp_path / attribute
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(jetson, attribute, file)
    assert jetson.power_mode() == name
