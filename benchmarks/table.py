"""Times mt.Table against its peers and the memory ceiling.

    python benchmarks/table.py                    about two minutes
    python benchmarks/table.py --full             all sizes: hours
    python benchmarks/table.py --large            100 M ids, mt.Table only
    python benchmarks/table.py --ids=10000000 --dims=16 --batches=131072
        --measures=throughput,growth --json=table.json --plot=table.png

Measures:

    throughput   lookup, update, step (both), insert; millions of ids a second
    growth       from nothing to all ids: seconds of batches, memory per id
    checkpoint   tf.train.Checkpoint, written and read
    eviction     a random 90 % goes: what memory is left

Peers: raw (the ops, given what a server is sent), table (mt.Table as a user
calls it), tfra (TFRA's CuckooHashTable), dense (a variable: tf.gather, a dense
step, scatter), sparse_apply (ResourceSparseApplyAdagradV2 on the same
variable), keras (tf.keras Embedding and optimizer); growth has also ready (a
table with initial_capacity) and untracked (one with tracks_changes=False). All
are tf.functions with the same threads and take turns at every batch; ratios are
medians of turns.

Processes of one and of two threads take turns too, when the memory holds both.
On a machine that others use, --clock=cpu counts processor seconds: rates are
then per second of one processor, whatever the threads. docs/benchmarks.md says
how to read the tables.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import time
from collections.abc import Iterator
from collections.abc import Sequence

import common
import memory_ceiling
import table_plot
import table_report
import table_sizes
import tqdm
from absl import app
from absl import flags
from table_worker import Process

# --help shows them.
flags.adopt_module_key_flags(table_sizes)

# Turns of a process before the next process runs.
_CHUNK = 5
_MEMORY_SHARE = 0.9
_TENSORFLOW_BYTES = 1 << 29


class Benchmark:
    """Runs the cases of the flags and keeps the figures."""

    def __init__(self, sizes: table_sizes.Sizes, clock: str):
        """Prepares an empty run."""
        self.sizes, self.clock = sizes, clock
        self.record: dict = {
            "sizes": dataclasses.asdict(sizes),
            "clock": clock,
            "seed": table_sizes.SEED.value,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
            "machine": common.machine(),
            "left_out": [],
            "ceiling": [],
            "throughput": [],
            "growth": [],
            "checkpoint": [],
            "eviction": [],
        }
        self._progress = None

    def run(self, measures: Sequence[str]) -> None:
        """Measures everything."""
        cases = list(
            itertools.product(
                self.sizes.ids, self.sizes.dims, self.sizes.optimizers
            )
        )
        if table_sizes.WARM_MEMORY.value:
            self._warm_memory(cases)
        self._measure_ceiling("before")
        with tqdm.tqdm(
            total=len(cases) * len(measures), unit="measure", smoothing=0
        ) as self._progress:
            for case in cases:
                for measure in measures:
                    sizes = "{} ids, dim {}, {}".format(*case)
                    self._progress.set_description(f"{measure}: {sizes}")
                    getattr(self, measure)(*case)
                    self._progress.update()
                    # An interrupted long run keeps its figures so far.
                    if table_sizes.JSON.value:
                        _write_json(self.record, table_sizes.JSON.value)
        self._measure_ceiling("after")
        self.record["machine_after"] = common.machine()

    def throughput(self, num_rows: int, dim: int, optimizer: str) -> None:
        """Runs all works on full tables."""
        wanted = [
            peer
            for peer in self.sizes.peers
            if peer not in table_sizes.GROWTH_ONLY
        ]
        peers = self._that_fit(wanted, num_rows, dim, optimizer)
        if not peers:
            return
        rows = []
        threads = self.sizes.threads
        need = self._need(peers, num_rows, dim, optimizer)
        together = need * len(threads) < self._room()
        for group in [threads] if together else [[t] for t in threads]:
            with contextlib.ExitStack() as stack:
                children = [
                    stack.enter_context(
                        Process(
                            "Throughput",
                            number,
                            num_rows=num_rows,
                            dim=dim,
                            optimizer=optimizer,
                            peers=peers,
                            seed=table_sizes.SEED.value,
                            capacity=int(num_rows * table_sizes.CAPACITY.value),
                        )
                    )
                    for number in group
                ]
                # Before inserts change the tables.
                stats = children[0].call("stats")
                for case in self._works(optimizer):
                    rows += self._run_work(children, case)
        for row in rows:
            row |= {"ids": num_rows, "dim": dim, "optimizer": optimizer}
            row |= {"stats": stats}
        self.record["throughput"] += rows

    def growth(self, num_rows: int, dim: int, optimizer: str) -> None:
        """Grows empty tables, each in its own process."""
        wanted = [
            peer
            for peer in self.sizes.peers
            if peer in ("table", *table_sizes.GROWTH_ONLY, "tfra")
        ]
        batch = table_sizes.GROWTH_BATCH.value
        total = -(-num_rows // batch) * batch
        for peer in self._that_fit(
            wanted, num_rows, dim, optimizer, together=False
        ):
            seconds = {"wall": [], "cpu": []}
            threads = max(self.sizes.threads)
            with Process(
                "Growth",
                threads,
                peer=peer,
                dim=dim,
                optimizer=optimizer,
                batch=batch,
                capacity=total if peer == "ready" else 0,
            ) as child:
                memory = []
                for begin in range(0, total, 32 * batch):
                    end = min(begin + 32 * batch, total)
                    part = child.call("grow", begin=begin, end=end)
                    for clock, values in part.items():
                        seconds[clock] += values
                    memory.append(child.call("memory", num_rows=end))
            self.record["growth"].append(
                {
                    "peer": peer,
                    "ids": total,
                    "dim": dim,
                    "optimizer": optimizer,
                    "threads": threads,
                    "batch": batch,
                    "load_average": common.machine()["load_average"],
                    **table_report.growth_figures(seconds, batch),
                    "memory": memory[-1],
                    "memory_at_best": min(
                        memory, key=lambda m: m["bytes_per_id"]
                    ),
                    "seconds": seconds,
                }
            )

    def checkpoint(self, num_rows: int, dim: int, optimizer: str) -> None:
        """Saves and restores."""
        wanted = [p for p in self.sizes.peers if p in ("table", "dense")]
        for peer in self._that_fit(
            wanted, num_rows, dim, optimizer, together=False, factor=2
        ):
            threads = max(self.sizes.threads)
            with Process(
                "Checkpoint",
                threads,
                peer=peer,
                num_rows=num_rows,
                dim=dim,
                optimizer=optimizer,
                folder=table_sizes.FOLDER.value,
            ) as child:
                result = child.call("run")
            self.record["checkpoint"].append(
                {
                    "peer": peer,
                    "ids": num_rows,
                    "dim": dim,
                    "optimizer": optimizer,
                    "threads": threads,
                    **result,
                }
            )

    def eviction(self, num_rows: int, dim: int, optimizer: str) -> None:
        """Evicts a random 90 %."""
        if "table" not in self.sizes.peers or not self._that_fit(
            ["table"], num_rows, dim, optimizer
        ):
            return
        threads = max(self.sizes.threads)
        with Process(
            "Eviction",
            threads,
            num_rows=num_rows,
            dim=dim,
            optimizer=optimizer,
        ) as child:
            result = child.call("run")
        self.record["eviction"].append(
            {
                "ids": num_rows,
                "dim": dim,
                "optimizer": optimizer,
                "threads": threads,
                **result,
            }
        )

    def _works(self, optimizer: str) -> Iterator[dict]:
        """Works on full tables; inserts come last, because they add rows."""
        # Lookups do not depend on the optimizer.
        is_first = optimizer == self.sizes.optimizers[0]
        for work in sorted(
            table_sizes.WORK_FLAG.value, key=table_sizes.WORKS.index
        ):
            if not is_first and work in ("lookup", "insert"):
                continue
            zipfs = [0.0] if work == "insert" else self.sizes.zipfs
            hit_rates = self.sizes.hit_rates if work == "lookup" else [1.0]
            for zipf, hit_rate, batch in itertools.product(
                zipfs, hit_rates, self.sizes.batches
            ):
                yield {
                    "work": work,
                    "zipf": zipf,
                    "hit_rate": hit_rate,
                    "batch": batch,
                }

    def _run_work(self, children: Sequence[Process], case: dict) -> list[dict]:
        """Runs processes in turns; returns one row of figures per process."""
        parts: dict[int, list] = {child.threads: [] for child in children}
        chunks = -(-self.sizes.rounds // _CHUNK)
        for turn in range(chunks):
            rounds = min(_CHUNK, self.sizes.rounds - turn * _CHUNK)
            for child in children[turn % 2 :] + children[: turn % 2]:
                parts[child.threads].append(
                    child.call("run", **case, rounds=rounds, turn=turn)
                )
            if self._progress is not None:
                self._progress.set_postfix_str(
                    f"{case['work']} {case['batch']}", refresh=True
                )
        return [
            {
                **case,
                "threads": threads,
                "load_average": common.machine()["load_average"],
                **table_report.throughput_figures(of_threads),
            }
            for threads, of_threads in parts.items()
        ]

    def _measure_ceiling(self, when: str) -> None:
        mib = min(
            table_sizes.CEILING_MIB.value,
            int(common.available_bytes() / 2) >> 20,
        )
        for threads, dim in itertools.product(
            self.sizes.threads, self.sizes.dims
        ):
            measured = memory_ceiling.measure(
                threads=threads,
                mib=mib,
                row_bytes=4 * dim,
                accesses=table_sizes.CEILING_ACCESSES.value,
            )
            self.record["ceiling"].append(
                {
                    "when": when,
                    "dim": dim,
                    "load_average": common.machine()["load_average"],
                    **measured,
                }
            )

    def _warm_memory(self, cases) -> None:
        """Touches the memory of the largest case, inserts included."""
        need = max(
            self._need(self.sizes.peers, *case, factor=2) for case in cases
        )
        self.record["warm_seconds"] = common.warm_memory(
            min(len(self.sizes.threads) * need, self._room())
        )

    def _room(self) -> int:
        return int(_MEMORY_SHARE * common.available_bytes())

    def _need(self, peers, num_rows, dim, optimizer, factor=1) -> int:
        return _TENSORFLOW_BYTES + factor * sum(
            table_sizes.needed_bytes(peer, num_rows, dim, optimizer)
            for peer in peers
        )

    def _that_fit(
        self, peers, num_rows, dim, optimizer, together=True, factor=1
    ) -> list[str]:
        """Returns the peers that the memory holds; notes the others."""
        fit: list[str] = []
        for peer in peers:
            others = fit if together else []
            need = self._need([*others, peer], num_rows, dim, optimizer, factor)
            if need < self._room():
                fit.append(peer)
                continue
            reason = (
                f"{peer} with {num_rows} ids, dim {dim}, {optimizer}: would "
                f"need {need / 2**30:.1f} GiB"
                + (f" with {', '.join(others)}" if others else "")
                + f", {self._room() / 2**30:.1f} GiB are free to use"
            )
            if reason not in self.record["left_out"]:
                self.record["left_out"].append(reason)
            tqdm.tqdm.write(f"Left out: {reason}")
        return fit


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"Takes flags only. Received: {argv[1:]}")
    benchmark = Benchmark(table_sizes.sizes_of_flags(), table_sizes.CLOCK.value)
    benchmark.run(table_sizes.MEASURE_FLAG.value)
    benchmark.record |= table_report.summary(benchmark.record)
    table_report.print_report(benchmark.record)
    json_path, plot_path = table_sizes.JSON.value, table_sizes.PLOT.value
    if json_path:
        _write_json(benchmark.record, json_path)
    if plot_path:
        table_plot.plot(benchmark.record, plot_path)
    for path in filter(None, (json_path, plot_path)):
        print(f"Written: {path}")


def _write_json(record: dict, path: str) -> None:
    with open(path, "w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    app.run(main)
