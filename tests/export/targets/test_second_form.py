"""The second form of a model: when it is built, and how both failures are told."""

from __future__ import annotations

import pytest

from r2p_edge.errors import BackendError, ModelError, ParityError
from r2p_edge.export.targets.second_form import build_either


def fails(error):
    """Return a build that ends in this error."""

    def build():
        raise error

    return build


@pytest.mark.parametrize("refusal", [ModelError("no Conv3D"), ParityError("it answers otherwise")])
def test_the_second_is_built_where_the_first_is_refused(refusal):
    said = []
    assert build_either(fails(refusal), lambda: "second", said.append) == "second"
    assert said == [f"{refusal}; so the form without 3-D convolutions is built"]


def test_the_second_is_not_built_otherwise():
    never = fails(AssertionError("it was built"))
    assert build_either(lambda: "first", never, print) == "first"
    # The tool does not work, for any model.
    with pytest.raises(BackendError, match="no memory"):
        build_either(fails(BackendError("no memory")), never, print)
    with pytest.raises(ModelError, match=r"^no Conv3D$"):
        build_either(fails(ModelError("no Conv3D")), None, print)


def test_both_refusals_are_told():
    with pytest.raises(ModelError, match=r"^no Conv3D; and without 3-D convolutions: no Slice$"):
        build_either(fails(ModelError("no Conv3D")), fails(ModelError("no Slice")), lambda _: None)
    with pytest.raises(BackendError, match=r"^no memory$"):
        build_either(fails(ModelError("a")), fails(BackendError("no memory")), lambda _: None)
