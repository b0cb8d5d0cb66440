"""`r2p-edge weights`: list, fetch and check published weights."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r2p_edge.cli.output import print_json, progress_bars
from r2p_edge.cli.verb import VerbParser, Verbs, add_verb, add_verb_of_verbs
from r2p_edge.errors import ModelError

if TYPE_CHECKING:
    from r2p_edge.export.published.registry import PublishedWeights
    from r2p_edge.export.published.store import StoredWeights

_EXAMPLES = (
    "weights list",
    "weights show tv-r2plus1d_18",
    "weights get tv-r2plus1d_18",
    "weights add kh-r2p1d34 r2p1d34_K_200ep.pth",
    "weights verify",
)


def add(verbs: Verbs) -> None:
    """Add the verb, with verbs of its own."""
    actions = add_verb_of_verbs(
        verbs,
        "weights",
        "List, fetch and check published weights; export takes their IDs.",
        *_EXAMPLES,
    )
    listing, showing, getting, adding, verifying = _EXAMPLES
    add_verb(actions, "list", _run_list, "List published weights.", listing, f"{listing} --json")
    show_one = add_verb(
        actions,
        "show",
        _run_show,
        "Show licence, data and file of published weights.",
        showing,
        f"{showing} --json",
    )
    _add_id(show_one)
    get = add_verb(
        actions,
        "get",
        _run_get,
        "Fetch published weights into the store, or go on where a download broke off.",
        getting,
        f"{getting} --out weights/",
    )
    _add_id(get)
    _add_place(get)
    get.add_argument(
        "--offline", action="store_true", help="make no connection; fail if they are not there"
    )
    bring = add_verb(
        actions,
        "add",
        _run_add,
        "Copy a file that was fetched by hand into the store, if it is the published one.",
        adding,
        f"{adding} --json",
    )
    _add_id(bring)
    bring.add_argument("file", type=Path, metavar="FILE", help="file that was fetched")
    _add_place(bring)
    verify = add_verb(
        actions,
        "verify",
        _run_verify,
        "Check every file of the store.",
        verifying,
        f"{verifying} --json",
    )
    verify.add_argument(
        "folder", type=Path, nargs="?", metavar="DIR", help="folder to check (default: the store)"
    )


def _add_id(verb: VerbParser) -> None:
    verb.add_argument("id", metavar="ID", help="name of the weights, as the list has it")


def _add_place(verb: VerbParser) -> None:
    verb.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of weights, made if it does not exist (default: $R2P_WEIGHTS, or "
        "r2p_edge/weights in the user's cache)",
    )
    verb.add_argument(
        "--sha256",
        metavar="HEX",
        help="sha256 that the file must have, as another machine has found it (default: the "
        "published digest decides alone)",
    )


def _run_list(options: argparse.Namespace) -> int:
    """List the registry; return 0."""
    from r2p_edge.export.published.store import WeightsStore

    store = WeightsStore()
    rows = []
    for entry in store.registry.values():
        here = store.path(entry).is_file()
        if options.json:
            print_json({**entry.to_dict(), "stored": here})
        state = "in the store" if here else entry.status
        rows.append((entry.id, state, _size(entry), entry.licence, entry.trained_on))
    if not options.json:
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths))
            print("  ".join(cells).rstrip())
        print(f"\nstore: {store.folder}")
    return 0


def _run_show(options: argparse.Namespace) -> int:
    """Show one entry; return 0."""
    from r2p_edge.export.published.store import WeightsStore

    store = WeightsStore()
    entry = store.entry(options.id)
    path = store.path(entry)
    here = path.is_file()
    if options.json:
        print_json({**entry.to_dict(), "stored": here, "path": str(path) if here else None})
        return 0
    _print_entry(entry)
    by_hand = f"not here; fetch it by hand, then r2p-edge weights add {entry.id} FILE"
    how = by_hand if entry.status == "by-hand" else f"not here; r2p-edge weights get {entry.id}"
    _print_rows({"store": str(path) if here else how})
    return 0


def _run_get(options: argparse.Namespace) -> int:
    """Fetch weights; return 0."""
    from r2p_edge.export.published.fetch import get_weights
    from r2p_edge.export.published.store import WeightsStore

    store = WeightsStore(options.out)
    if not options.json:
        _print_entry(store.entry(options.id))
    with progress_bars() as bars:
        stored = get_weights(
            options.id,
            store=store,
            sha256=options.sha256,
            offline=options.offline,
            progress=lambda done, total: bars(options.id, done, total),
        )
    _show_stored(stored, options.json)
    return 0


def _run_add(options: argparse.Namespace) -> int:
    """Add weights; return 0."""
    from r2p_edge.export.published.fetch import add_weights
    from r2p_edge.export.published.store import WeightsStore

    store = WeightsStore(options.out)
    stored = add_weights(options.id, options.file, store=store, sha256=options.sha256)
    if not options.json:
        _print_entry(stored.entry)
    _show_stored(stored, options.json)
    return 0


def _run_verify(options: argparse.Namespace) -> int:
    """Check the store; return 0, or the exit code of damaged models."""
    from r2p_edge.export.published.store import WeightsStore

    store, wrong = WeightsStore(options.folder), 0
    for found in store.check():
        wrong += found.state not in ("whole", "unfinished")
        if options.json:
            print_json(found.to_dict())
        else:
            print(f"{found.state:>12}  {found.path}" + (found.reason and f": {found.reason}"))
    return ModelError.exit_code if wrong else 0


def _show_stored(stored: StoredWeights, as_json: bool) -> None:
    """Print what is in the store now."""
    if as_json:
        print_json(stored.to_dict())
        return
    record = stored.record
    checked = (
        "no digest is published to compare it with" if record.digest is None else "as published"
    )
    how = f"{stored.fetched} bytes fetched" if stored.fetched else "nothing fetched"
    _print_rows(
        {
            "store": str(stored.path),
            "bytes": f"{record.size} ({how})",
            "sha256": f"{record.sha256} ({checked}); --sha256 holds another machine to it",
        }
    )


def _print_entry(entry: PublishedWeights) -> None:
    """Print what the registry says, for people."""
    digest = entry.published
    trained = [f"preset {entry.preset}" if entry.preset else "no preset"]
    trained += [f"{entry.frames} frames"] * (entry.frames is not None)
    rows: dict[str, Any] = {
        "weights": f"{entry.id}: {entry.title}",
        "licence": f"{entry.licence}, {entry.licence_url}",
        "data": f"{entry.trained_on}, whose terms may bind too",
        "classes": f"{entry.classes or 'unknown'} ({entry.labels or 'names not known'})",
        "family": entry.family or "none that is known",
        "trained": ", ".join(trained),
        "url": entry.url,
        "file": f"{entry.file}, {_size(entry)}",
        "digest": "none published" if digest is None else digest.words,
    }
    if entry.notes:
        rows["notes"] = entry.notes
    _print_rows(rows)


def _print_rows(rows: dict[str, Any]) -> None:
    for name, value in rows.items():
        print(f"{name:>9}  {value}")


def _size(entry: PublishedWeights) -> str:
    """Return how large a file is, for people."""
    if entry.size is not None:
        return f"{entry.size / 1e6:.1f} MB"
    return "size unknown" if entry.megabytes is None else f"about {entry.megabytes} MB"
