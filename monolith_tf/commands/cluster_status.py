"""`monolith-tf cluster-status`: state and work of each process."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import time
import urllib.request
from concurrent import futures

from monolith_tf.cluster import health
from monolith_tf.cluster import probe as probe_lib
from monolith_tf.cluster import process_state
from monolith_tf.cluster import roles
from monolith_tf.cluster.probe import Probe
from monolith_tf.cluster.process_state import read_process_state
from monolith_tf.cluster.progress import FILE_NAME
from monolith_tf.cluster.progress import read_progress

_TIMEOUT_SECONDS = 2.0
_MAX_THREADS = 32
_THIS_MACHINE = "localhost"
_STATES = {
    probe_lib.ANSWERS: health.ALIVE,
    probe_lib.GREETS: health.SLOW,
    probe_lib.SILENT: health.HUNG,
    probe_lib.REFUSES: health.DEAD,
    probe_lib.UNREACHABLE: health.PARTITIONED,
}
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
        help="show the state of the processes of a cluster, and their work",
        description="Asks every process of a cluster for a sign of life, and "
        "reads the metrics of those that serve them. A process is alive, slow, "
        "starting, dead, hung (it takes connections and is silent) or "
        "partitioned (its machine takes none). Exits with 1 unless all are "
        "alive or slow.",
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
    step = _step(arguments.log_dir)
    all_answer = True
    # At once, so that those that do not answer do not add up.
    with futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
        states = list(pool.map(_state, processes))
    for process, (state, reason) in zip(processes, states, strict=True):
        line = " ".join(filter(None, (process["name"], process["address"])))
        line += f": {state}" + (f" ({reason})" if reason else "")
        all_answer &= state in (health.ALIVE, health.SLOW)
        if step and process["name"].startswith(roles.CHIEF):
            line += step
        if process.get("metrics_port"):
            line += _metrics(_host(process), process["metrics_port"])
        print(line)
    return 0 if all_answer else 1


def _state(process: dict) -> tuple[str, str]:
    """Asks one process once; returns its state, and the reason if it is bad."""
    pid = process.get("pid")
    of_process = None
    if pid and _host(process) == _THIS_MACHINE:
        of_process = read_process_state(pid)
        if of_process and of_process.state == process_state.GONE:
            return health.DEAD, f"process {pid} has ended"
        if of_process and of_process.state == process_state.STOPPED:
            return health.HUNG, f"process {pid} is stopped"
    if process["address"] is None:
        return (health.ALIVE, "") if of_process else (health.STARTING, "")
    probe = Probe(process["address"])
    try:
        answer = probe.ask(_TIMEOUT_SECONDS)
    finally:
        probe.close()
    if answer.kind == probe_lib.REFUSES and of_process:
        return health.STARTING, "its process runs, its port is not open"
    return _STATES[answer.kind], answer.detail


def _host(process: dict) -> str:
    return (process["address"] or _THIS_MACHINE).rpartition(":")[0] or (
        _THIS_MACHINE
    )


def _step(log_dir: str | None) -> str:
    """Returns the progress of the chief of a launched job, or ""."""
    if log_dir is None:
        return ""
    progress = read_progress(pathlib.Path(log_dir) / FILE_NAME)
    if progress is None:
        return ""
    age_seconds = max(0.0, time.time() - progress.time)
    text = "" if progress.step is None else f", step {progress.step}"
    text += f", {progress.calls} calls of workers"
    return f"{text}, {age_seconds:.0f} s ago"


def _processes(log_dir: str | None) -> list[dict]:
    if log_dir is not None:
        path = pathlib.Path(log_dir) / "cluster.json"
        if not path.exists():
            raise ValueError(
                f"there is no {path}. Pass the --log_dir of a running "
                "`monolith-tf launch`."
            )
        return json.loads(path.read_text())
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
