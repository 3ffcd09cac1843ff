"""`monolith-tf cluster-status`: reachability and work of each process."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import socket
import urllib.request

_TIMEOUT_SECONDS = 2.0
# Metrics that are shown if a process has them: name, unit, scale.
_SHOWN = (
    ("process_resident_memory_bytes", "MB", 1e-6),
    ("monolith_server_lookup_calls_total", "lookups", 1.0),
    ("monolith_server_lookup_seconds_total", "s in lookups", 1.0),
    ("monolith_server_apply_calls_total", "updates", 1.0),
    ("monolith_server_apply_seconds_total", "s in updates", 1.0),
    ("monolith_worker_steps_total", "steps", 1.0),
    ("monolith_worker_lookup_seconds_total", "s from ids to vectors", 1.0),
    ("monolith_worker_dense_seconds_total", "s from there to gradients", 1.0),
    ("monolith_training_steps", "steps", 1.0),
    ("monolith_training_steps_queued", "queued", 1.0),
    ("monolith_training_examples_per_second", "examples/s", 1.0),
    ("monolith_table_num_rows", "rows", 1.0),
)


def add(commands) -> None:
    """Adds the subcommand to the parser's `commands`."""
    parser = commands.add_parser(
        "cluster-status",
        help="show which processes of a cluster answer, and their work",
        description="Connects to every process of a cluster, and reads the "
        "metrics of those that serve them. Exits with 1 if a process does not "
        "answer.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "log_dir",
        nargs="?",
        default=None,
        help="log folder of `monolith-tf launch` (default: the cluster of "
        "the environment variable TF_CONFIG)",
    )
    parser.set_defaults(run=_run)


def _run(arguments) -> int:
    processes = _processes(arguments.log_dir)
    all_answer = True
    for process in processes:
        host, _, port = process["address"].rpartition(":")
        line = f"{process['name']} {process['address']}: "
        try:
            socket.create_connection(
                (host, int(port)), _TIMEOUT_SECONDS
            ).close()
            line += "answers"
        except OSError as error:
            all_answer = False
            line += f"does not answer ({error})"
        if process.get("metrics_port"):
            line += _metrics(host, process["metrics_port"])
        print(line)
    return 0 if all_answer else 1


def _processes(log_dir: str | None) -> list[dict]:
    if log_dir is not None:
        path = pathlib.Path(log_dir) / "cluster.json"
        if not path.exists():
            raise ValueError(
                f"there is no {path}. Pass the --log_dir of a running "
                "`monolith-tf launch`."
            )
        return json.loads(path.read_text())
    from monolith_tf.cluster import roles

    addresses, _, _ = roles.parse_tf_config(os.environ.get("TF_CONFIG"))
    return [
        {"name": f"{role} {index}", "address": address}
        for role, of_role in addresses.items()
        for index, address in enumerate(of_role)
    ]


def _metrics(host: str, port: int) -> str:
    """Returns the metrics of a process as one line, or says there are none."""
    from prometheus_client import parser

    try:
        with urllib.request.urlopen(
            f"http://{host}:{port}/metrics", timeout=_TIMEOUT_SECONDS
        ) as answer:
            text = answer.read().decode()
    except OSError:
        return ", no metrics"
    sums: collections.Counter = collections.Counter()
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return "".join(
        f", {sums[name] * scale:.6g} {unit}"
        for name, unit, scale in _SHOWN
        if sums[name]
    )
