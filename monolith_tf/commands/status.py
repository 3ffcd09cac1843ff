"""`monolith-tf status`: versions and applied deltas of a model server."""

from __future__ import annotations


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "status",
        help="show the versions and applied deltas of a model server",
        description="Shows which versions a model server has, and up to which "
        "sequence it has applied the deltas of an export.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--address",
        default="127.0.0.1:8500",
        help="host:port of the server's gRPC port (%(default)s)",
    )
    parser.add_argument(
        "--model_name",
        default="model",
        help="name of the model on the server (%(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> int:
    from monolith_tf.serving import status
    from monolith_tf.serving.client import PredictionClient

    with PredictionClient(arguments.address, max_attempts=2) as client:
        for version in client.status(arguments.model_name):
            error = version.error_message and f": {version.error_message}"
            print(f"version {version.version}: {version.state}{error}")
        replica = status.read_status(client, arguments.model_name)
    print(f"export_id: {replica.export_id}")
    streams = zip(replica.generations, replica.last_sequences, strict=True)
    for stream, (generation, sequence) in enumerate(streams):
        is_dense = stream == len(replica.generations) - 1
        name = "dense variables" if is_dense else f"shard {stream}"
        print(f"{name}: generation {generation}, sequence {sequence}")
    tables = zip(
        replica.live_rows, replica.dead_rows, replica.buckets, strict=True
    )
    for i, (live, dead, buckets) in enumerate(tables):
        print(f"table {i}: {live} rows, {dead} tombstones, {buckets} buckets")
    return 0
