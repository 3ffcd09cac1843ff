"""Times Keras fit of a DeepFM on parameter servers, by embedding.

    python benchmarks/parameter_server.py [--batch=4096] [--json=FILE]

Every entry of `--peers` is an embedding and a number of workers: `collection:2`
is mt.layers.EmbeddingCollection trained by 2 workers and `--num_ps` parameter
servers, all processes of this machine; `collection:0` is the same model in one
process. The embeddings are those of keras_fit.py: collection, monolith, static
and tfra. TFRA gets one table for all features, its parts on all servers; with
more than one worker its rows are wrong, and it may crash, which is reported.

Peers take turns, `--rounds` times: each runs `fit` for an epoch that does not
count and `--epochs` that do, of `--steps` steps each, over the same batches,
read from files. Examples a second are medians of rounds; ratios compare rounds.
Processor milliseconds a step are those of each role; they say where a step's
work is done. Last, TensorFlow's profiler watches every process of `--profile`
for some seconds, and the time of ops is printed by kind and role.

The ceiling is the one process: the same work without a wire.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import pathlib
import statistics
import tempfile
from collections.abc import Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import common  # noqa: E402
import deepfm  # noqa: E402
import deepfm_flags  # noqa: E402
import parameter_server_fit  # noqa: E402
import table_worker  # noqa: E402
import tensorflow as tf  # noqa: E402
import tqdm  # noqa: E402
from absl import app  # noqa: E402
from absl import flags  # noqa: E402

_EPOCHS = flags.DEFINE_integer(
    "epochs", 2, "Epochs of a turn that count.", lower_bound=1
)
_EXECUTION = flags.DEFINE_integer(
    "steps_per_execution", 1, "Steps a call of the coordinator.", lower_bound=1
)
_WIRE = flags.DEFINE_enum(
    "wire_dtype",
    "float32",
    ["float32", "bfloat16", "float16"],
    "Of rows and gradients of this library on the wire.",
)
_STALENESS = flags.DEFINE_integer(
    "staleness",
    None,
    "Of mt.pipelined, for this library under parameter servers; it needs "
    "--steps_per_execution. Without it nothing is pipelined.",
    lower_bound=0,
)
_DELAY = flags.DEFINE_float(
    "delay_ms",
    0.0,
    "How late everything arrives on the way to parameter servers and back: a "
    "network between machines (see fault_proxy.py).",
    lower_bound=0.0,
)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns.", lower_bound=1)
_NUM_PS = flags.DEFINE_integer("num_ps", 2, "Parameter servers.", lower_bound=1)
_PEERS = flags.DEFINE_list(
    "peers",
    [
        "collection:2",
        "collection:1",
        "collection:0",
        "static:2",
        "tfra:1",
        "tfra:2",
    ],
    "What to time: embedding:workers; 0 workers for one process.",
)
_PROFILE = flags.DEFINE_string(
    "profile", "collection:2", "The peer to profile; empty for none."
)
_PROFILE_SECONDS = flags.DEFINE_float(
    "profile_seconds", 2.0, "How long each process is watched.", lower_bound=0.1
)
_KINDS = ("lookup", "apply")
_JSON = flags.DEFINE_string("json", "", "File for the record too.")


def _parse(peer: str) -> tuple[str, int]:
    """Splits an entry of --peers."""
    name, _, workers = peer.partition(":")
    if name not in deepfm.PEERS or not workers.isdigit():
        raise app.UsageError(
            "--peers are embedding:workers, the embedding one of "
            f"{list(deepfm.PEERS)}. Received: {peer!r}."
        )
    return name, int(workers)


def _start(peer: str, data: str) -> table_worker.Process:
    """Starts the processes of a peer.

    Raises:
        RuntimeError: It could not start.
    """
    name, workers = _parse(peer)
    return table_worker.Process(
        "Fit",
        0,
        module="parameter_server_fit",
        peer=name,
        num_ps=_NUM_PS.value if workers else 0,
        num_workers=workers,
        batch=deepfm_flags.BATCH.value,
        data=data,
        delay_ms=_DELAY.value if workers else 0.0,
        model={
            **deepfm_flags.sizes(),
            "steps_per_execution": _EXECUTION.value,
            "wire_dtype": _WIRE.value,
            "staleness": _STALENESS.value if workers else None,
        },
    )


def _take_turns(processes: dict[str, table_worker.Process]) -> dict:
    """Runs the peers in turns; reports and drops peers that fail."""
    found = {name: [] for name in processes}
    for turn in tqdm.trange(_ROUNDS.value, desc="rounds", unit="round"):
        names = list(found)
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            try:
                found[name].append(
                    processes[name].call(
                        "fit",
                        steps=deepfm_flags.STEPS.value,
                        epochs=_EPOCHS.value,
                    )
                )
            except RuntimeError as error:
                print(f"{name} failed and is left out: {_last_line(error)}")
                del found[name]
        if not found:
            raise app.UsageError("No peer is left.")
    return found


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1][:300]


def _cpu_by_role(turns: list[dict]) -> dict[str, float]:
    """Processor milliseconds per step, by role; medians of rounds."""
    steps = deepfm_flags.STEPS.value * _EPOCHS.value
    by_role = collections.defaultdict(lambda: [0.0] * len(turns))
    for number, turn in enumerate(turns):
        for name, seconds in turn["cpu_seconds"].items():
            by_role[name.split()[0]][number] += 1e3 * seconds / steps
    return {role: statistics.median(of) for role, of in by_role.items()}


def _median_of_servers(turns: list[dict]) -> dict:
    """Work of the servers' ops per step; medians of rounds."""
    return {
        kind: {
            name: statistics.median(
                turn["servers"][kind][name] for turn in turns
            )
            for name in ("ids", "bytes", "ms")
        }
        for kind in _KINDS
    }


def _report(turns: dict[str, list[dict]]) -> dict:
    """Prints rates, ratios and processor time; returns them."""
    seconds = {
        name: [turn["seconds"] for turn in of] for name, of in turns.items()
    }
    rates = {
        name: deepfm_flags.STEPS.value
        * deepfm_flags.BATCH.value
        / statistics.median(of)
        for name, of in seconds.items()
    }
    cpu = {name: _cpu_by_role(of) for name, of in turns.items()}
    roles = ["chief", "worker", "ps"]
    rows = [["peer", "examples/s", "ms per step", *(f"{r} cpu" for r in roles)]]
    for name, rate in rates.items():
        rows.append(
            [
                name,
                f"{rate:,.0f}",
                f"{1e3 * deepfm_flags.BATCH.value / rate:.2f}",
                *(f"{cpu[name].get(role, 0):.1f}" for role in roles),
            ]
        )
    common.print_table(
        "Keras fit, medians; processor ms per step by role", rows
    )
    servers = {name: _median_of_servers(of) for name, of in turns.items()}
    common.print_table(
        "All servers, a step: ids, MB in and out of the op, ms inside",
        [["", *(f"{k} {n}" for k in _KINDS for n in ("ids", "MB", "ms"))]]
        + [
            [
                name,
                *(
                    text
                    for kind in _KINDS
                    for text in (
                        f"{of[kind]['ids']:,.0f}",
                        f"{of[kind]['bytes'] / 1e6:.2f}",
                        f"{of[kind]['ms']:.2f}",
                    )
                ),
            ]
            for name, of in servers.items()
            if of["apply"]["ids"]
        ],
    )
    compared = {
        f"{ours} / {peer}": [
            round(ratio, 3) for ratio in common.ratios(seconds, ours, peer)
        ]
        for ours in seconds
        for peer in seconds
        if ours.startswith(("collection", "monolith"))
        and ours != peer
        and not ours.endswith(":0")
    }
    common.print_table(
        "Ratios of rounds",
        [["", "median", "least", "most"]]
        + [[name, *values] for name, values in compared.items()],
    )
    return {
        "examples_per_second": {k: round(v) for k, v in rates.items()},
        "seconds": seconds,
        "cpu_ms_a_step": cpu,
        "servers_a_step": servers,
        "ratios": compared,
        "losses": {
            name: [turn["loss"] for turn in of] for name, of in turns.items()
        },
    }


def _print_profile(found: dict[str, dict[str, float]]) -> None:
    """Prints the ops that took longest in each process."""
    for process, kinds in found.items():
        common.print_table(
            f"Ops of {_PROFILE.value} {process}, ms in "
            f"{_PROFILE_SECONDS.value} s",
            [["op", "ms"]]
            + [[k, f"{v:.1f}"] for k, v in list(kinds.items())[:15]],
        )


def main(argv: Sequence[str]) -> None:
    """Starts the peers, runs them in turns, profiles one."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    for peer in _PEERS.value:
        _parse(peer)
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        parameter_server_fit.write_batches(
            data, deepfm_flags.model(), *deepfm_flags.make_batches()
        )
        processes = {}
        for peer in tqdm.tqdm(_PEERS.value, desc="starting", leave=False):
            try:
                process = stack.enter_context(_start(peer, data))
            except RuntimeError as error:
                print(f"Without {peer}: {_last_line(error)}")
                continue
            stack.callback(process.call, "close")
            processes[peer] = process
        record = _report(_take_turns(processes))
        record["profile_ms"] = {}
        if _PROFILE.value in record["examples_per_second"]:
            record["profile_ms"] = processes[_PROFILE.value].call(
                "profile",
                steps=100_000,
                seconds=_PROFILE_SECONDS.value,
            )
            _print_profile(record["profile_ms"])
    record = {
        **deepfm_flags.record(),
        **{
            flag.name: flag.value
            for flag in (
                *(_EPOCHS, _EXECUTION, _WIRE, _STALENESS),
                *(_DELAY, _NUM_PS),
            )
        },
        "rounds": _ROUNDS.value,
        "tensorflow": tf.__version__,
        **record,
    }
    common.print_json(record)
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(
            json.dumps({**record, **common.machine()})
        )


if __name__ == "__main__":
    app.run(main)
