"""Runs the worker or parameter server that `TF_CONFIG` names.

python -m monolith_tf.cluster [--import_module=NAME ...]
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from monolith_tf.cluster import drain
from monolith_tf.cluster import roles

_ROLES = (roles.PARAMETER_SERVER, roles.WORKER)


def main() -> int:
    """Runs the role; returns an exit code if there is no such role."""
    parser = argparse.ArgumentParser(
        prog="python -m monolith_tf.cluster",
        description="Serves as the worker or parameter server that the "
        "environment variable TF_CONFIG names, until it is stopped. The chief "
        "is the training program.",
        epilog=f"TF_CONFIG is JSON, such as {roles.EXAMPLE}",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--import_module",
        action="append",
        default=[],
        metavar="NAME",
        help="module to import first, such as one that loads custom ops; "
        "repeatable",
    )
    parser.add_argument(
        "--drain_seconds",
        type=float,
        default=drain.GRACE_SECONDS,
        help="longest time that a parameter server waits for a snapshot after "
        "SIGTERM (default: %(default)g)",
    )
    arguments = parser.parse_args()
    try:
        _, role, _ = roles.parse_tf_config(os.environ.get("TF_CONFIG"))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if role not in _ROLES:
        print(
            f"TF_CONFIG needs a task of {sorted(_ROLES)}. Received: task "
            f"{role!r}. The chief is the training program.",
            file=sys.stderr,
        )
        return 2
    for module in arguments.import_module:
        importlib.import_module(module)
    if role == roles.PARAMETER_SERVER:
        roles.run_parameter_server(drain_seconds=arguments.drain_seconds)
    roles.run_worker()
    return 0


if __name__ == "__main__":
    sys.exit(main())
