"""Memory, size on disk and lookups of served tables, by precision.

    TF_USE_LEGACY_KERAS=1 python benchmarks/served_memory.py [--rows=1000000]

A trainer fills a table and exports it; another process loads the export with
stock TensorFlow and looks ids up through its signature. Every export is sized
for the rows that it has. Peers take turns at the lookups. Prints a table, then
one line of JSON.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence

import common
import served_measures
import table_worker
from absl import app
from absl import flags

_ROWS = flags.DEFINE_integer("rows", 1_000_000, "Rows.", lower_bound=1)
_DIM = flags.DEFINE_integer("dim", 32, "Weights of a row.", lower_bound=1)
_BATCHES = flags.DEFINE_list("batches", ["1000", "20000"], "Ids of a lookup.")
_REPEATS = flags.DEFINE_integer("repeats", 100, "Lookups a turn.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 8, "Turns.", 1)
_PRECISIONS = flags.DEFINE_list(
    "precisions",
    ["float32", "bfloat16", "int8", "onebit"],
    f"Of {', '.join(served_measures.PRECISIONS)}.",
)


def _process(kind: str, **arguments) -> table_worker.Process:
    return table_worker.Process(kind, 0, module="served_measures", **arguments)


def measure(directory: str) -> list[dict]:
    """Measures every precision.

    Args:
        directory: Where the exports go.

    Returns:
        A record of each precision.
    """
    measured, servers = [], []
    for precision in _PRECISIONS.value:
        trainer = _process(
            "Trainer", precision=precision, rows=_ROWS.value, dim=_DIM.value
        )
        exported = trainer.call("export", directory=directory)
        trainer.close()
        servers.append(_process("Server"))
        loaded = servers[-1].call("load", path=exported["path"])
        measured.append({"precision": precision, **exported, **loaded})
    for batch in map(int, _BATCHES.value):
        figures = [[] for _ in servers]
        for turn in range(_ROUNDS.value):
            # Rotate the order, so that noise affects all alike.
            for number in range(len(servers)):
                number = (number + turn) % len(servers)
                timed = servers[number].call(
                    "lookups",
                    rows=_ROWS.value,
                    batch=batch,
                    repeats=_REPEATS.value,
                )
                figures[number].append(timed)
        for one, timed in zip(measured, figures, strict=True):
            medians, p99s = zip(*timed, strict=True)
            one[f"lookup_{batch}_ms"] = statistics.median(medians)
            one[f"lookup_{batch}_p99_ms"] = statistics.median(p99s)
    for server in servers:
        server.close()
    return measured


def main(argv: Sequence[str]) -> None:
    """Measures and reports."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    with tempfile.TemporaryDirectory() as directory:
        measured = measure(directory)
    common.print_table(
        f"Served tables of {_ROWS.value:,} rows of dim {_DIM.value}; a lookup "
        "in ms: median, p99",
        [
            ["stored", "on disk MiB", "export s", "resident MiB", "load s"]
            + [f"{int(batch):,} ids" for batch in _BATCHES.value],
            *(
                [
                    one["stored"],
                    f"{one['export_bytes'] / 2**20:.1f}",
                    f"{one['export_seconds']:.1f}",
                    f"{one['resident_bytes'] / 2**20:.0f}",
                    f"{one['load_seconds']:.1f}",
                ]
                + [
                    f"{one[f'lookup_{batch}_ms']:.2f}, "
                    f"{one[f'lookup_{batch}_p99_ms']:.2f}"
                    for batch in _BATCHES.value
                ]
                for one in measured
            ),
        ],
    )
    for one in measured:
        del one["path"]
    common.print_json(
        {"rows": _ROWS.value, "dim": _DIM.value, "tables": measured}
    )


if __name__ == "__main__":
    app.run(main)
