"""`monolith-tf parameter-server` and `worker`: one role of a cluster."""

from __future__ import annotations


def add(commands) -> None:
    """Adds both subcommands to the parser's `commands`."""
    for name, role in (
        ("parameter-server", "parameter server"),
        ("worker", "worker"),
    ):
        parser = commands.add_parser(
            name,
            help=f"run a {role}",
            description=f"Serves as a {role} of a cluster, with the ops of "
            "this library, until it is stopped.",
            allow_abbrev=False,
        )
        parser.add_argument(
            "--tf_config",
            default=None,
            help="JSON of the cluster and of this task (default: the "
            "environment variable TF_CONFIG)",
        )
        parser.set_defaults(run=_run)


def _run(arguments) -> int:
    from monolith_tf.cluster import roles

    if arguments.command == "worker":
        roles.run_worker(arguments.tf_config)
    else:
        roles.run_parameter_server(arguments.tf_config)
    return 0
