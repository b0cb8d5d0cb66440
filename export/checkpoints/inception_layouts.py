"""The layouts of the published inception networks, I3D and S3D."""

from __future__ import annotations

from collections.abc import Mapping

from r2p_edge.export.checkpoints.layouts import InceptionLayout

_FIRST = ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3")
_MIXED = tuple(f"Mixed_{each}" for each in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c"))
_BRANCHES = ("0.0", "1.0", "1.1", "2.0", "2.1", "3.0")


def _i3d(
    names: dict[str, str],
    norm: str,
    *,
    lower: bool = False,
    conv: str = "conv3d",
    odd: Mapping[str, str] | None = None,
) -> InceptionLayout:
    """Return the layout of an I3D.

    Args:
        names: of the units of a module, by branch and index.
        norm, conv: names of a unit's norm and convolution.
        lower: whether names of units and modules begin with a small letter.
        odd: names of the units of single modules that are others, by module, branch and index.
    """

    def own(name: str) -> str:
        return name[0].lower() + name[1:] if lower else name

    units = [(unit, own(unit)) for unit in _FIRST]
    units += [
        (f"{mixed}.{branch}", f"{own(mixed)}.{(odd or {}).get(f'{mixed}.{branch}', name)}")
        for mixed in _MIXED
        for branch, name in names.items()
    ]
    return InceptionLayout(
        tuple((unit, f"{name}.{conv} {name}.{norm}") for unit, name in units),
        tuple((mixed, own(mixed)) for mixed in _MIXED),
        same=True,
    )


def _s3d() -> InceptionLayout:
    """Return the layout of torchvision's S3D, whose modules have numbers in a row with pools."""

    def plain(name: str) -> str:
        return f"{name}.0 {name}.1"

    def halves(name: str) -> str:
        return f"{plain(f'{name}.0')} {plain(f'{name}.1')}"

    modules = tuple(
        (mixed, f"features.{number}")
        for mixed, number in zip(_MIXED, (5, 6, 8, 9, 10, 11, 12, 14, 15), strict=True)
    )
    rows = [(_FIRST[0], halves("features.0")), (_FIRST[1], plain("features.2"))]
    rows.append((_FIRST[2], halves("features.3")))
    for mixed, name in modules:
        rows.append((f"{mixed}.0.0", plain(f"{name}.branch0")))
        for branch in (1, 2):
            rows.append((f"{mixed}.{branch}.0", plain(f"{name}.branch{branch}.0")))
            rows.append((f"{mixed}.{branch}.1", halves(f"{name}.branch{branch}.1")))
        rows.append((f"{mixed}.3.0", plain(f"{name}.branch3.1")))
    return InceptionLayout(tuple(rows), modules, same=False)


I3D_PIERGIAJ = _i3d(
    dict(zip(_BRANCHES, ("b0", "b1a", "b1b", "b2a", "b2b", "b3b"), strict=True)), "bn"
)
"""Layout of piergiaj/pytorch-i3d."""

I3D_HASSONY = _i3d(
    {"0.0": "branch_0", "1.0": "branch_1.0", "1.1": "branch_1.1", "2.0": "branch_2.0",
     "2.1": "branch_2.1", "3.0": "branch_3.1"},
    "batch3d",
    lower=True,
)  # fmt: skip
"""Layout of hassony2/kinetics_i3d_pytorch."""

I3D_DEEPMIND = _i3d(
    {"0.0": "Branch_0.Conv3d_0a_1x1", "1.0": "Branch_1.Conv3d_0a_1x1",
     "1.1": "Branch_1.Conv3d_0b_3x3", "2.0": "Branch_2.Conv3d_0a_1x1",
     "2.1": "Branch_2.Conv3d_0b_3x3", "3.0": "Branch_3.Conv3d_0b_1x1"},
    "batch_norm",
    conv="conv_3d",
    odd={"Mixed_5b.2.1": "Branch_2.Conv3d_0a_3x3"},
)  # fmt: skip
"""Layout of google-deepmind/kinetics-i3d, with the names that its variables get here."""

S3D_TORCHVISION = _s3d()
"""Layout of torchvision's S3D."""
