"""The rows of a benchmark: each model file on each runtime, device and precision that is here."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from r2p_edge import _isolated
from r2p_edge.artifact import Artifact
from r2p_edge.artifact.two_streams import PairArtifact, models_of
from r2p_edge.errors import R2PError, SpecError
from r2p_edge.per_frame.state import BorderKind, borders_of
from r2p_edge.runtimes import RUNTIMES, runtime_type
from r2p_edge.runtimes.base import PRECISIONS
from r2p_edge.two_stream_calls import JOINT


class LeftOut(NamedTuple):
    """Something that is not measured.

    Attributes:
        what: a runtime, a form of the model, or a file.
        reason: why not.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Abilities:
    """A runtime of this machine.

    Attributes:
        version: of its library; None if it has none.
        devices: for each device, its default first, the precisions that a caller may ask for.
        part_devices: those of them that run the parts of a per-frame form.
    """

    version: str | None
    devices: Mapping[str, Sequence[str]]
    part_devices: Sequence[str] = ()


@dataclass(frozen=True)
class Candidate:
    """A model file, and how it is run.

    Attributes:
        artifact: the file.
        runtime, device, precision: see `Predictor`; None is the file's own.
        version: of the runtime's library.
        per_frame: whether its per-frame form is asked.
        border: of that, see `FrameState`.
    """

    artifact: Artifact
    runtime: str
    device: str | None = None
    precision: Literal["fp32", "fp16", "bf16"] | None = None
    version: str | None = field(default=None, compare=False)
    per_frame: bool = False
    border: BorderKind | None = None


def abilities(report: Callable[[object], None], runtime: str) -> dict[str, object]:
    """Return the fields of a runtime's `Abilities`; called in a process of its own."""
    kind = runtime_type(runtime)
    version = getattr(kind.library(), "__version__", None)
    devices = {device: kind.precisions(device) for device in kind.devices()}
    return {
        "version": version and str(version).partition("-")[0],
        "devices": devices,
        "part_devices": [device for device in devices if kind.runs_parts(device)],
    }


def runtimes_here(
    names: Iterable[str], timeout: float
) -> tuple[dict[str, Abilities], list[LeftOut]]:
    """Return the runtimes of these names that work here, and why the others do not.

    Each is imported in a process of its own, because one that does not fit the machine may crash.

    Args:
        names: keys of `RUNTIMES`.
        timeout: seconds for each.
    """
    here, left_out = {}, []
    for name in names:
        if importlib.util.find_spec(name) is None:
            left_out.append(LeftOut(name, "not installed"))
            continue
        try:
            found = _isolated.call(f"{__name__}:abilities", {"runtime": name}, timeout=timeout)
        except R2PError as error:
            left_out.append(LeftOut(name, str(error)))
            continue
        if found["devices"]:
            here[name] = Abilities(**found)
        else:
            left_out.append(LeftOut(name, "it finds no device"))
    return here, left_out


def candidates_of(
    artifacts: Sequence[Artifact], here: Mapping[str, Abilities]
) -> tuple[list[Candidate], list[LeftOut]]:
    """Return the rows for model files of one model, the reference first.

    The reference is an fp32 file, by choice an ONNX file with 3-D convolutions.

    Args:
        artifacts: the files.
        here: the runtimes of this machine.

    Returns:
        The rows, and the precisions and files that nothing here takes.

    Raises:
        SpecError: the files are not of one model.
    """
    _check_one_model(artifacts)
    order = sorted(
        artifacts,
        key=lambda each: (
            each.spec.precision != "fp32",
            each.spec.graph == "conv2d",
            each.path.suffix.lower() != ".onnx",
            each.path.name,
        ),
    )
    rows: list[Candidate] = []
    left_out = list(_lacking(here))
    for artifact in order:
        for each in models_of(artifact):
            takers = _takers(each)
            if not here.keys() & takers:
                reason = f"{' or '.join(takers)} would run it, and is not here"
                left_out.append(LeftOut(each.path.name, reason))
        if isinstance(artifact, PairArtifact):
            rows += _pair_rows(artifact, here)
            continue
        for name in _takers(artifact):
            if name in here and not _has_twin(artifact, name, artifacts):
                rows += _rows(artifact, name, here[name])
    return rows, left_out


def per_frame_candidates(
    artifacts: Iterable[Artifact], here: Mapping[str, Abilities]
) -> list[Candidate]:
    """Return the rows for the per-frame forms of those model files that have one."""
    found = []
    having = [each for each in artifacts if each.spec.per_frame is not None]
    for artifact in having:
        assert artifact.spec.per_frame is not None
        borders = borders_of(artifact.spec.per_frame)
        for name in _takers(artifact):
            if name in here and not _has_twin(artifact, name, having):
                found += [
                    dataclasses.replace(row, per_frame=True, border=border)
                    for row in _rows(artifact, name, here[name])
                    if _runs_parts(row, here[name])
                    for border in borders
                ]
    return found


def _has_twin(artifact: Artifact, runtime: str, artifacts: Iterable[Artifact]) -> bool:
    """Return whether one of OpenVINO's own files is there, of which it makes the same."""
    if runtime != "openvino" or artifact.path.suffix.lower() != ".onnx":
        return False
    own = {_form(each) for each in artifacts if each.path.suffix.lower() == ".xml"}
    return _form(artifact) in own


def _runs_parts(row: Candidate, abilities: Abilities) -> bool:
    device = row.device or next(iter(abilities.devices))
    return device in abilities.part_devices


def _lacking(here: Mapping[str, Abilities]) -> Iterator[LeftOut]:
    """Yield the precisions that a runtime has on other devices than those that are here."""
    for name, found in here.items():
        for device, precisions in found.devices.items():
            lacks = [each for each in PRECISIONS if precisions and each not in precisions]
            for precision in lacks:
                yield LeftOut(f"{name} {precision}", f"the {device} here does not compute in it")


def _form(artifact: Artifact) -> tuple[str, str | None]:
    return artifact.spec.precision, artifact.spec.graph


def _takers(artifact: Artifact) -> list[str]:
    """Return the names of the runtimes that take a file."""
    made_for = (artifact.spec.target or {}).get("runtime")
    suffix = artifact.path.suffix.lower()
    takers = [name for name, row in RUNTIMES.items() if suffix in row.suffixes]
    return [made_for] if made_for in takers else takers


def _rows(artifact: Artifact, name: str, abilities: Abilities) -> list[Candidate]:
    """Return the rows of a file on a runtime."""
    if (artifact.spec.target or {}).get("device"):  # which was chosen when it was built
        return [Candidate(artifact, name, version=abilities.version)]
    rows = []
    for device, precisions in abilities.devices.items():
        rows.append(Candidate(artifact, name, device, version=abilities.version))
        if artifact.spec.precision == "fp32":
            rows += [
                Candidate(artifact, name, device, precision, abilities.version)  # type: ignore[arg-type]
                for precision in precisions
                if precision != "fp32"
            ]
    return rows


def _pair_rows(pair: PairArtifact, here: Mapping[str, Abilities]) -> list[Candidate]:
    """Return the rows of two streams: each runtime of the one with each of the other."""
    of_each = [[name for name in _takers(each) if name in here] for each in models_of(pair)]
    return [
        Candidate(pair, rgb if rgb == flow else f"{rgb}{JOINT}{flow}")
        for rgb, flow in itertools.product(*of_each)
    ]


def _check_one_model(artifacts: Sequence[Artifact]) -> None:
    """Make sure that the same clips and the same answers are right for all files.

    Raises:
        SpecError: they are not.
    """
    first = artifacts[0]
    for other in artifacts[1:]:
        mine, theirs = first.spec, other.spec
        fields = [
            name
            for name in ("labels", "output", "clip", "resize", "crop")
            if getattr(mine, name) != getattr(theirs, name)
        ]
        sources = [(spec.source or {}).get("sha256") for spec in (mine, theirs)]
        if None not in sources and sources[0] != sources[1]:
            fields.append("source")
        if fields:
            raise SpecError(
                f"{first.path} and {other.path} are not of one model, as they differ in "
                f"{', '.join(fields)}; give a folder that has the artifacts of one model alone, or "
                "one of the files"
            )
