"""`r2p-edge serve-export`: write a model into the repository of another server."""

from __future__ import annotations

import argparse
from pathlib import Path

from r2p_edge.cli import options as shared
from r2p_edge.cli.output import print_json
from r2p_edge.cli.verb import Verbs, add_verb
from r2p_edge.serve_export import SERVERS, Repository, write_repository


def add(verbs: Verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "serve-export",
        run,
        "Write a model into the repository of Triton, OpenVINO Model Server or DeepStream.",
        "serve-export model.onnx --to triton --out repository",
        "serve-export model.xml --to ovms --name actions --out repository",
    )
    shared.add_model(verb)
    verb.add_argument("--to", required=True, metavar="SERVER", help=f"server: {', '.join(SERVERS)}")
    verb.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the repository, which may have other models",
    )
    verb.add_argument(
        "--name",
        metavar="NAME",
        help="name of the model on the server (default: that of the model's contract)",
    )
    verb.add_argument(
        "--max-batch",
        type=int,
        default=8,
        metavar="N",
        help="let Triton put up to N clips into one call, of a model that was exported with "
        "--batch dynamic (default: 8)",
    )
    verb.add_argument(
        "--replace",
        action="store_true",
        help="put the model in the place of another one of the same name",
    )
    verb.add_argument(
        "--spec",
        type=Path,
        metavar="FILE",
        help="JSON file with the contract of a model that carries none (default: the model's own)",
    )


def run(options: argparse.Namespace) -> int:
    """Write; return 0."""
    repository = write_repository(
        options.model,
        options.to,
        options.out,
        name=options.name,
        spec=options.spec,
        max_batch=options.max_batch,
        replace=options.replace,
    )
    if options.json:
        print_json(
            {
                "server": repository.server,
                "folder": str(repository.folder),
                "models": dict(repository.models),
                "start": repository.start,
            }
        )
    else:
        show(repository)
    return 0


def show(repository: Repository) -> None:
    """Print what was written, for people."""
    for name, version in repository.models.items():
        print(f"{repository.folder / name}: version {version}")
    print(f"start the server with: {repository.start}")
