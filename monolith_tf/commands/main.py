"""The command `monolith-tf` and its subcommands."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence

from monolith_tf.commands import cluster_status
from monolith_tf.commands import launch
from monolith_tf.commands import server_role


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        arguments: as typed after `monolith-tf`; None takes the process's own.

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
    _add_serve(commands)
    _add_dump(commands)
    _add_status(commands)
    cluster_status.add(commands)
    launch.add(commands)
    server_role.add(commands)
    return parser


def _add_serve(commands) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve SavedModels over TensorFlow Serving's protocol",
        description="A small model server for laptops, tests and demos; "
        "production runs TensorFlow Serving on the same export.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="NAME=PATH",
        help="a model and the directory of its version directories",
    )
    parser.add_argument(
        "--model_name",
        action="append",
        default=[],
        help="name of the model (default: model); repeat it for several, each "
        "with its --model_base_path",
    )
    parser.add_argument(
        "--model_base_path",
        action="append",
        default=[],
        help="directory of the model's version directories",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (%(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=8500,
        help="gRPC port, 0 for any free one (%(default)s)",
    )
    parser.add_argument(
        "--rest_api_port",
        type=_port,
        default=None,
        help="REST port, 0 for any free one (default: none)",
    )
    parser.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=0.25,
        help="how often to look for new versions (%(default)s)",
    )
    parser.set_defaults(run=_serve)


def _add_dump(commands) -> None:
    parser = commands.add_parser(
        "dump",
        help="show a file of this library",
        description="Shows what is in delta files, row files, exports and "
        "checkpoints; a damaged file is an error that names the offset.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file",
        nargs="+",
        help="delta file, row file, export directory or checkpoint",
    )
    parser.add_argument(
        "--max_ids",
        type=int,
        default=10,
        help="ids to show of each table (%(default)s)",
    )
    parser.set_defaults(run=_dump)


def _add_status(commands) -> None:
    parser = commands.add_parser(
        "status",
        help="ask a server how far it is",
        description="Asks a model server which versions it has, and how far "
        "the deltas of an export are applied.",
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
        help="name of the model there (%(default)s)",
    )
    parser.set_defaults(run=_status)


def _serve(arguments) -> int:
    models = _models(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # TensorFlow's loader of sessions tells everybody to use another one.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from monolith_tf.serving.server import ModelServer

    for name, path in models.items():
        if not os.path.isdir(path):
            logging.warning("Model %r waits for %r to appear", name, path)
    with ModelServer(
        models,
        arguments.host,
        arguments.port,
        arguments.rest_api_port,
        arguments.file_system_poll_wait_seconds,
    ) as server:
        rest = ""
        if server.rest_api_port is not None:
            rest = f" rest={arguments.host}:{server.rest_api_port}"
        print(
            f"monolith-tf serve: ready grpc={arguments.host}:{server.port}"
            f"{rest} models={','.join(models)}",
            flush=True,
        )
        stop.wait()
    return 0


def _models(arguments) -> dict[str, str]:
    """Models by name, from both ways to write them."""
    paths = arguments.model_base_path
    names = arguments.model_name or (["model"] if len(paths) == 1 else [])
    if len(names) != len(paths):
        raise ValueError(
            "each --model_base_path needs a --model_name. Received: "
            f"{len(names)} names and {len(paths)} paths."
        )
    pairs = list(zip(names, paths, strict=True))
    for pair in arguments.models:
        name, separator, path = pair.partition("=")
        if not (name and separator and path):
            raise ValueError(f"expected NAME=PATH. Received: {pair!r}.")
        pairs.append((name, path))
    if not pairs:
        raise ValueError(
            "no model. Pass --model_base_path=PATH (and --model_name=NAME), "
            "or NAME=PATH."
        )
    models = dict(pairs)
    if len(models) != len(pairs):
        raise ValueError(
            "two models have one name. Received: "
            f"{[name for name, _ in pairs]}."
        )
    return models


def _dump(arguments) -> int:
    from monolith_tf.serving import dump

    for path in arguments.file:
        if len(arguments.file) > 1:
            print(f"{path}:")
        for line in dump.dump(path, arguments.max_ids):
            print(line)
    return 0


def _status(arguments) -> int:
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
        what = (
            "dense variables"
            if stream == len(replica.generations) - 1
            else f"shard {stream}"
        )
        print(f"{what}: generation {generation}, sequence {sequence}")
    tables = zip(
        replica.live_rows, replica.dead_rows, replica.buckets, strict=True
    )
    for i, (live, dead, buckets) in enumerate(tables):
        print(f"table {i}: {live} rows, {dead} tombstones, {buckets} buckets")
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port (0 to 65535)")
    return port


if __name__ == "__main__":
    sys.exit(main())
