"""Snapshots of one table: save, restore and stall, together with the disk.

Example:
    TF_USE_LEGACY_KERAS=1 python benchmarks/snapshots.py --rows=10000000

Peers of the same run: the disk alone (one file of as many bytes, written and
synchronized, then read), and `tf.train.Checkpoint` of dense variables of as
many bytes. A restore goes into a new table, so that it includes insertion and
growth. The last measure takes snapshots while another thread updates.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import statistics
import tempfile
import threading
import time

import numpy as np
import tensorflow as tf
from common import print_json
from common import print_table
from common import resident_bytes
from common import spread
from common import take_turns

import monolith_tf as mt

_BATCH = 1 << 17
_BLOCK_BYTES = 8 << 20


def main() -> None:
    """Measures, and prints a table and a record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--update_ids", type=int, default=4096)
    parser.add_argument("--directory", help="disk to measure")
    flags = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(dir=flags.directory))
    try:
        _measure(flags, folder)
    finally:
        shutil.rmtree(folder)


def _config(flags) -> mt.TableConfig:
    return mt.TableConfig(
        "movie", dim=flags.dim, optimizer=mt.optimizers.Adagrad(0.1)
    )


def _measure(flags, folder: pathlib.Path) -> None:
    with mt.TableSet():
        table = mt.Table(_config(flags))
    for begin in range(0, flags.rows, _BATCH):
        ids = spread(np.arange(begin, min(flags.rows, begin + _BATCH)))
        table.apply_gradients(ids, tf.ones([len(ids), flags.dim]))
    root = tf.train.Checkpoint(table=table)
    bytes_each = 16 + 8 * flags.dim
    num_bytes = flags.rows * bytes_each
    dense = tf.train.Checkpoint(
        variable=tf.Variable(tf.zeros([num_bytes // 4]))
    )
    peaks = []

    def save():
        before = resident_bytes()
        peak = _Peak()
        mt.snapshots.save(root, folder / "snapshots", keep=1)
        peaks.append(peak.stop() - before)

    def restore():
        with mt.TableSet():
            fresh = mt.Table(_config(flags))
        target = tf.train.Checkpoint(table=fresh)
        mt.snapshots.restore(target, folder / "snapshots")
        if fresh.size() != flags.rows:
            raise RuntimeError(f"{fresh.size()} rows came back.")

    disk = folder / "disk"
    work = {
        "disk, write": lambda: _write(disk, num_bytes),
        "snapshot, save": save,
        "dense checkpoint, save": lambda: dense.write(folder / "dense"),
        "disk, read": lambda: _read(disk),
        "snapshot, restore": restore,
        "dense checkpoint, restore": lambda: dense.read(folder / "dense"),
    }
    seconds = take_turns(work, flags.rounds)
    medians = {name: statistics.median(x) for name, x in seconds.items()}
    beside = _measure_updates(flags, table, root, folder / "beside")
    print_table(
        f"{flags.rows} rows of dim {flags.dim} with Adagrad, "
        f"{num_bytes / 2**20:.0f} MiB",
        [
            ("measure", "seconds", "MiB/s"),
            *(
                (name, f"{x:.2f}", f"{num_bytes / 2**20 / x:.0f}")
                for name, x in medians.items()
            ),
        ],
    )
    print_table(
        f"updates of {flags.update_ids} ids",
        [
            ("measure", "quiet", "during snapshots"),
            *(
                (f"p{p}, ms", f"{quiet:.2f}", f"{busy:.2f}")
                for p, (quiet, busy) in beside["update_ms"].items()
            ),
        ],
    )
    print(
        f"Longest stall for the moment: {beside['stall_ms']:.1f} ms. Most "
        f"memory above the table: {max(peaks) / 2**20:.0f} MiB."
    )
    print_json(
        {
            "rows": flags.rows,
            "dim": flags.dim,
            "bytes": num_bytes,
            "seconds": seconds,
            "peak_bytes": max(peaks),
            **beside,
        }
    )


class _Peak:
    """The most resident memory since it was made."""

    def __init__(self):
        self._most = resident_bytes()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self):
        while not self._is_over.wait(0.005):
            self._most = max(self._most, resident_bytes())

    def stop(self) -> int:
        self._is_over.set()
        self._thread.join()
        return self._most


def _write(path: pathlib.Path, num_bytes: int) -> None:
    block = bytes(_BLOCK_BYTES)
    with open(path, "wb") as file:
        for begin in range(0, num_bytes, _BLOCK_BYTES):
            file.write(block[: num_bytes - begin])
        file.flush()
        os.fsync(file.fileno())


def _read(path: pathlib.Path) -> None:
    with open(path, "rb") as file:
        while file.read(_BLOCK_BYTES):
            pass


def _measure_updates(flags, table, root, directory) -> dict:
    """Measures updates alone, then while snapshots are written."""
    random = np.random.default_rng(0)
    batches = [
        tf.constant(spread(random.integers(0, flags.rows, flags.update_ids)))
        for _ in range(64)
    ]
    gradients = tf.ones([flags.update_ids, flags.dim])
    update = tf.function(
        lambda ids: table.apply_gradients(ids, gradients, event_time=1),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )

    def run(until) -> list[float]:
        times = []
        while not until(len(times)):
            begin = time.perf_counter()
            update(batches[len(times) % len(batches)])
            times.append(time.perf_counter() - begin)
        return times

    run(lambda n: n >= 64)
    quiet = run(lambda n: n >= 1000)
    writer = mt.snapshots.SnapshotWriter(root, directory, keep=1, full_every=1)
    busy, stalls = [], []
    while len(busy) < 1000:
        moment = writer.begin()
        stalls.append(moment.stall_seconds)
        thread = threading.Thread(target=writer.finish, args=(moment,))
        thread.start()
        busy += run(lambda _, thread=thread: not thread.is_alive())
        thread.join()
    return {
        "update_ms": {
            p: tuple(1e3 * float(np.percentile(x, p)) for x in (quiet, busy))
            for p in (50, 99)
        },
        "stall_ms": 1e3 * max(stalls),
    }


if __name__ == "__main__":
    main()
