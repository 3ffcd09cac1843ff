"""A long run: threads train and remove rows while deltas are cut.

Four threads update a table, one removes ids that fell out of a sliding window,
and the main thread takes deltas as fast as it can and applies them to a replica
in memory. Whenever a round ends, the threads stop, a last delta is taken, and
the replica must equal the table, bit for bit. One JSON line a round shows
rows, resident bytes of the table and of the process: none of them may keep
growing, because the window does not. But TensorFlow 2.16 loses memory with
every Python number that becomes a tensor in eager mode, and all is eager here:
"peak_resident_kib" rises by some 45 MiB a round of a minute. 2.21 does not.

    make soak ARGS="--minutes=30"
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import monolith_tf as mt  # noqa: E402

WINDOW = 200_000  # ids that get gradients at a time
BATCH = 4096
DIM = 16


class Traffic:
    """The threads of one round."""

    def __init__(self, table: mt.Table, first_id: int, seed: int):
        """Prepares the threads; ids are `first_id` and the WINDOW after it."""
        self._table = table
        self._first_id = first_id
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(self._update, seed + i))
            for i in range(4)
        ]
        self._threads.append(
            threading.Thread(target=self._run, args=(self._remove, seed + 4))
        )

    def start(self) -> None:
        """Starts every thread."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Joins every thread and raises its error, if one failed."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _run(self, step, seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            while not self._stop.is_set():
                step(random)
        except BaseException as error:
            self._errors.append(error)

    def _update(self, random: np.random.Generator) -> None:
        ids = self._first_id + random.integers(0, WINDOW, BATCH)
        gradients = random.standard_normal((BATCH, DIM)).astype(np.float32)
        self._table.apply_gradients(ids, gradients)

    def _remove(self, random: np.random.Generator) -> None:
        # Rows that the window left behind, and a few in use.
        behind = self._first_id - random.integers(1, WINDOW, BATCH)
        inside = self._first_id + random.integers(0, WINDOW, BATCH // 64)
        self._table.remove(np.concatenate([behind, inside]))


def follow(table: mt.Table, replica: dict, cuts: list[int]) -> int:
    """Applies one delta of each shard to the replica; returns changed ids."""
    changed = 0
    for shard, cut in enumerate(cuts):
        delta = table.table_set.take_delta(shard, cut)
        part = delta.tables.get(table.name)
        if part is not None:
            rows = iter(part.rows)
            for id, exists in zip(
                part.ids.tolist(), part.exists.tolist(), strict=True
            ):
                if exists:
                    replica[id] = next(rows).tobytes()
                else:
                    replica.pop(id, None)
            changed += len(part.ids)
        cuts[shard] = delta.to_cut
    return changed


def differences(table: mt.Table, replica: dict) -> int:
    """Counts ids whose rows differ between table and replica."""
    rows = {
        id: row.tobytes()
        for ids, block in table.export(65536)
        for id, row in zip(ids.tolist(), block, strict=True)
    }
    return sum(rows.get(id) != replica.get(id) for id in {*rows, *replica})


def main() -> None:
    """Runs the rounds; the exit code says whether all were equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--round_seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    table = mt.Table(
        mt.TableConfig(
            "soak", dim=DIM, optimizer=mt.optimizers.Adagrad(0.05), seed=1
        )
    )
    replica: dict[int, bytes] = {}
    cuts = table.table_set.start_deltas()
    end = time.monotonic() + 60 * options.minutes
    number = 0
    while time.monotonic() < end:
        traffic = Traffic(table, number * (WINDOW // 2), options.seed + number)
        round_end = min(end, time.monotonic() + options.round_seconds)
        deltas = changed = 0
        traffic.start()
        try:
            while time.monotonic() < round_end:
                changed += follow(table, replica, cuts)
                deltas += 1
        finally:
            traffic.stop()
        changed += follow(table, replica, cuts)
        wrong = differences(table, replica)
        report = {
            "round": number,
            "rows": table.size(),
            "deltas": deltas + 1,
            "changed_ids": changed,
            "different_rows": wrong,
            "table_bytes": table.memory_bytes(),
            "peak_resident_kib": resource.getrusage(
                resource.RUSAGE_SELF
            ).ru_maxrss,
        }
        print(json.dumps(report), flush=True)
        if wrong:
            sys.exit(f"round {number}: {wrong} rows of the replica differ")
        number += 1


if __name__ == "__main__":
    main()
