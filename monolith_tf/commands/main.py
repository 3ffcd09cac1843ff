"""The command `monolith-tf`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from monolith_tf.commands import cluster_status
from monolith_tf.commands import dump
from monolith_tf.commands import launch
from monolith_tf.commands import serve
from monolith_tf.commands import server_role
from monolith_tf.commands import snapshots
from monolith_tf.commands import status


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        arguments: Words after `monolith-tf`; None for those of the process.

    Returns:
        The exit code: 0, or 1 after a one-line error on stderr.
    """
    # Before anything imports TensorFlow, which reads it once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    parsed = _parser().parse_args(arguments)
    from monolith_tf.errors import MonolithError

    try:
        return parsed.run(parsed)
    except (MonolithError, ValueError, OSError) as error:
        print(f"monolith-tf {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="monolith-tf",
        description="Recommender models in TensorFlow: serve, inspect, run.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for command in (
        *(serve, dump, snapshots, status, cluster_status, launch),
        server_role,
    ):
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
