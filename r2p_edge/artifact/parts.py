"""Parts of a form with state: files beside an artifact that are no models of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from r2p_edge.artifact.files import sha256_of_file
from r2p_edge.artifact.onnx_metadata import onnx_metadata
from r2p_edge.artifact.openvino_ir import described_part, weights_path
from r2p_edge.artifact.sidecar import read_sidecar, spec_of_sidecar
from r2p_edge.errors import ModelError, SpecError, unreadable_model
from r2p_edge.spec import ModelSpec
from r2p_edge.spec.per_frame import PARTS, PER_FRAME

PART_KEY = "r2p_edge.part"
"""Name in the metadata of an ONNX file under which a part says which it is."""

_ENGINES = (".engine", ".plan")  # files that carry no mark of ours
_ENDS = tuple(f"-{part}" for parts in PARTS.values() for part in parts)


def part_of(path: Path) -> str | None:
    """Return which part of a form a file is, such as "head"; None if it is none.

    Raises:
        ModelError: the file has the name of one and cannot be read, or of an engine the sidecar
            of its model; SpecError where that is wrong.
    """
    if not path.stem.endswith(_ENDS):
        return None
    if path.suffix.lower() == ".xml":
        return described_part(path)
    if path.suffix.lower() in _ENGINES:
        return _part_by_owner(path)
    return onnx_metadata(path).get(PART_KEY) if path.suffix.lower() == ".onnx" else None


def _part_by_owner(path: Path) -> str | None:
    """Return which part a file is of the model beside it, in whose sidecar that is written.

    Raises:
        ModelError, SpecError: the sidecar cannot be read, or is wrong.
    """
    owner = path.with_name(path.stem.rpartition("-")[0] + path.suffix)
    sidecar = read_sidecar(owner, foreign=False)
    form = None if sidecar is None else spec_of_sidecar(owner, sidecar).per_frame
    parts = {} if form is None else form.parts
    return next((name for name, part in parts.items() if part.file == path.name), None)


def refuse_part(path: Path) -> None:
    """Raise ModelError if a file is a part of a form; see `part_of` for other errors."""
    if (part := part_of(path)) is not None:
        whole = path.with_name(path.name.replace(f"-{part}{path.suffix}", path.suffix))
        raise ModelError(
            f"{path} is the {part} of a per-frame form and no model of its own; give the model "
            f"beside it, {whole.name}"
        )


def is_part(path: Path) -> bool:
    """Return whether a file is a part of a form; False if it cannot be read."""
    try:
        return part_of(path) is not None
    except (ModelError, SpecError):
        return False


def part_files(path: Path, spec: ModelSpec) -> list[Path]:
    """Return all files of the parts of the artifact at `path`, and that of a simulator."""
    simulated = simulated_from(path, spec)
    found = [] if simulated is None else [simulated[0]]
    if spec.per_frame is None:
        return found
    for part in spec.per_frame.parts.values():
        file = path.with_name(part.file)
        found.append(file)
        if part.weights_sha256 is not None:
            found.append(weights_path(file))
    return found


def simulated_from(path: Path, spec: ModelSpec) -> tuple[Path, str] | None:
    """Return the file from which a simulator builds the artifact at `path` again, and its sha256.

    None for an artifact that runs everywhere as it is.
    """
    entry = (spec.target or {}).get("simulated_from")
    if not isinstance(entry, Mapping):
        return None
    file = entry.get("file")
    if not isinstance(file, str) or not Path(file).name:
        return None
    return path.with_name(Path(file).name), str(entry.get("sha256"))


def old_parts(path: Path) -> list[Path]:
    """Return the files of parts that lie beside an artifact, by their names and marks."""
    found = []
    for end in _ENDS:
        file = path.with_name(f"{path.stem}{end}{path.suffix}")
        if file.is_file() and is_part(file):
            found.append(file)
            if file.suffix.lower() == ".xml":
                found.append(weights_path(file))
    return found


def check_parts(path: Path, spec: ModelSpec) -> dict[str, Path]:
    """Check that the parts of the artifact at `path` are beside it, and the ones of its export.

    Returns:
        The file of each part, by name; of an OpenVINO model the .xml file.

    Raises:
        ModelError: the artifact has no form with state, or a part is missing or of another export.
    """
    form = spec.per_frame
    if form is None:
        raise ModelError(f"{path} has no per-frame form; make one: {_export_line(spec, 2)}")
    line = _export_line(spec, form.stages)
    advice = f"copy all files of the export again, or export anew: {line}"
    found = {}
    for name, part in form.parts.items():
        file = path.with_name(part.file)
        prints = {file: part.sha256}
        if part.weights_sha256 is not None:
            prints[weights_path(file)] = part.weights_sha256
        for each, wanted in prints.items():
            try:
                if not each.is_file():
                    raise ModelError(
                        f"{each.name}, the {name} of the {form.form} form of {path}, is not beside "
                        f"it; {advice}"
                    )
                digest = sha256_of_file(each)
            except OSError as error:
                raise unreadable_model(each, error) from error
            if digest != wanted:
                raise ModelError(
                    f"{each} has sha256 {digest[:12]}... and {path} wants {wanted[:12]}... as its "
                    f"{name}, so it is damaged, or of another export; {advice}"
                )
        found[name] = file
    return found


def _export_line(spec: ModelSpec, stages: int) -> str:
    form = PER_FRAME if spec.per_frame is None else spec.per_frame.form
    agreement = None if spec.per_frame is None else spec.per_frame.agreement
    match (agreement or {}).get("weights"):
        case None:
            source = f"SOURCE --form {form} --stages {stages}"
        case {"shipped": True}:
            source = f"motion --form {form}"
        case _:
            source = f"SOURCE --form {form} --form-weights FILE"
    precision = f" --precision {spec.precision}" if spec.precision != "fp32" else ""
    return f"r2p-edge export {source}{precision} --out DIR"
