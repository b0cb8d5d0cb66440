"""Names of classes in other spellings."""

from __future__ import annotations

from r2p_edge.spec.class_names import class_finder


def test_labels_that_differ_in_punctuation_alone():
    find = class_finder(["C", "C++", "long jump"])
    found = [find(name) for name in ("C", "C++", "c", "Long_Jump", "LONGJUMP", "long")]
    assert found == [0, 1, None, 2, 2, None]
    assert class_finder(["Caf\u00e9"])("cafe\u0301") == 0  # as macOS spells file names
