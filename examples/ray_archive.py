"""Answer an archive on a Ray cluster: from a list of videos to a folder of Parquet files.

    python ray_archive.py MODEL LIST OUT [--views N] [--actors N]

LIST is a `.parquet`, `.csv` or `.txt` of videos; OUT gets files with the columns of `r2p-edge
predict --out`. Run again after any end, it answers the videos that OUT does not have yet. It starts
Ray on this machine, unless RAY_ADDRESS names a cluster; then model, videos and OUT have to be where
every machine finds them, and r2p_edge installed there. Needs `pip install "ray[data]"`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from r2p_edge.errors import R2PError
from r2p_edge.integrations.ray import classify, dataset_of, drop_repeated, remaining


def start_ray() -> None:
    """Start Ray on this machine, or connect with the cluster of RAY_ADDRESS."""
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers
    here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(**({} if "RAY_ADDRESS" in os.environ else here))


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("list", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--views", type=int, default=1, help="windows of each video (default: 1)")
    parser.add_argument("--actors", type=int, help="number of models (default: one per CPU)")
    options = parser.parse_args()
    try:
        listed = remaining(options.list, options.out)
        print(f"{len(listed)} videos to answer")
        if listed:
            start_ray()
            answers = classify(
                dataset_of(listed), options.model, actors=options.actors, views=options.views
            )
            # Actors may have all CPUs, and writing waits for none.
            answers.write_parquet(str(options.out.resolve()), ray_remote_args={"num_cpus": 0})
        # What was left of a job that was killed may have ended videos meanwhile.
        drop_repeated(options.out)
    except R2PError as error:
        print(f"{Path(__file__).name}: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
