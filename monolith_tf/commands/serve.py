"""`monolith-tf serve`: a small model server."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "serve",
        help="serve SavedModels over TensorFlow Serving's protocol",
        description="A small model server for laptops, tests and demos. "
        "Production runs TensorFlow Serving on the same export.",
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
        help="seconds between looks for new versions (%(default)s)",
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> int:
    models = _models(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    # TensorFlow's loader warns that it is deprecated at every load.
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
    """Returns name to path, from the flags and from NAME=PATH."""
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


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is not a port (0 to 65535)")
    return port
