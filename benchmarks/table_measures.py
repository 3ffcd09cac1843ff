"""Measurements, one class per kind of process (`table_worker.Process`)."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import shutil
import tempfile
import threading
import time
import zlib

import common
import numpy as np
import table_peers
import tensorflow as tf

_FILL_BATCH = 131_072
_CALLS_OF = 16_384  # ids at least that are timed together
_SURVIVORS = 10  # one of so many rows survives
_EPOCH = 1_700_000_000


class _Clock:
    """Wall seconds, and processor seconds of all threads."""

    def __init__(self):
        self.seconds = {"wall": [], "cpu": []}

    def time(self, work) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        # A function without an accelerator has run when it returns.
        work()
        self.seconds["wall"].append(time.perf_counter() - wall)
        self.seconds["cpu"].append(time.process_time() - cpu)


def _clean_resident_bytes() -> int:
    """Resident memory without the allocator's free memory."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return common.resident_bytes()


@functools.cache
def _gradients(length: int, dim: int) -> tf.Tensor:
    random = np.random.default_rng(5)
    return tf.constant(random.normal(0, 0.01, [length, dim]), tf.float32)


def _fill(peer, work: str, num_rows: int, dim: int) -> None:
    """Makes rows 0 to num_rows of a peer."""
    for begin in range(0, num_rows, _FILL_BATCH):
        numbers = np.arange(begin, min(begin + _FILL_BATCH, num_rows))
        rows = _gradients(_FILL_BATCH, dim)
        if len(numbers) < _FILL_BATCH:
            rows = rows[: len(numbers)]
        peer.works[work](*peer.arguments(work, numbers, rows))


class Throughput:
    """Full tables of several peers, which alternate at every batch."""

    def __init__(
        self,
        *,
        num_rows: int,
        dim: int,
        optimizer: str,
        peers: list[str],
        seed: int,
        capacity: int,
    ):
        """Makes and fills the tables.

        Args:
            num_rows: Rows of each.
            dim: Floats of a row.
            optimizer: Kind of it.
            peers: Of table, tfra, dense, keras; raw comes with table.
            seed: Of the ids.
            capacity: Rows that table and tfra are made ready for; 0 for what
                they make themselves ready for as they grow, and for num_rows.
        """
        self._num_rows, self._dim, self._seed = num_rows, dim, seed
        self._next_row = num_rows
        self._peers: dict[str, table_peers.Peer] = {}
        self._table = None
        if "table" in peers:
            self._table = table_peers.Table(dim, optimizer, capacity=capacity)
            self._peers["raw"] = table_peers.Raw(self._table)
            self._peers["table"] = self._table
            _fill(self._peers["raw"], "update", num_rows, dim)
        if "tfra" in peers:
            tfra = table_peers.Tfra(dim, optimizer, capacity or num_rows)
            self._peers["tfra"] = tfra
            # The step makes the slots.
            _fill(tfra, "step", num_rows, dim)
        keras = None
        if "keras" in peers:
            keras = table_peers.KerasEmbedding(dim, optimizer, num_rows)
        if "dense" in peers:
            weights = (
                keras.weights
                if keras
                else tf.Variable(tf.zeros([num_rows, dim]))
            )
            dense = table_peers.Dense(weights, optimizer)
            self._peers["dense"] = dense
            if optimizer == "adagrad":
                self._peers["sparse_apply"] = table_peers.SparseApply(dense)
        if keras:
            self._peers["keras"] = keras

    def run(
        self,
        *,
        work: str,
        batch: int,
        zipf: float,
        hit_rate: float,
        rounds: int,
        turn: int,
    ) -> dict:
        """Runs a work on new batches.

        Args:
            work: Lookup, update, step or insert.
            batch: Ids drawn for one call.
            zipf: Exponent of how often ids come; 0 for uniform.
            hit_rate: Share of ids that have a row.
            rounds: How often each peer has its turn.
            turn: Number of this call, for other ids.

        Returns:
            ids: how many ids a round has; seconds: by peer {"wall", "cpu"}.
        """
        key = [self._seed, zlib.crc32(work.encode()), batch, turn]
        random = np.random.default_rng([*key, int(100 * zipf)])
        calls = max(1, _CALLS_OF // batch)
        batches = self._draw(
            random, work, (rounds + 1) * calls, batch, zipf, hit_rate
        )
        rows = _gradients(len(batches[0]), self._dim)
        todo = {}
        for name, peer in self._peers.items():
            has_rows_only = isinstance(peer, table_peers.Dense)
            if work in peer.works and (hit_rate == 1 or not has_rows_only):
                todo[name] = (
                    peer.works[work],
                    [
                        peer.arguments(work, numbers, rows)
                        for numbers in batches
                    ],
                )
        clocks = {name: _Clock() for name in todo}
        names = list(todo)
        for number in range(rounds + 1):
            shift = (turn + number) % len(names)
            for name in names[shift:] + names[:shift]:
                call, arguments = todo[name]
                these = arguments[number * calls : (number + 1) * calls]

                def work_of_round(call=call, these=these):
                    for one in these:
                        call(*one)

                # The first round warms up.
                clock = clocks[name] if number else _Clock()
                clock.time(work_of_round)
        return {
            "ids": calls * len(batches[0]),
            "seconds": {name: clock.seconds for name, clock in clocks.items()},
        }

    def stats(self) -> dict:
        """Returns the table's statistics, and its bytes per record."""
        if self._table is None:
            return {}
        stats = self._table.table.stats()
        return {
            "record_bytes": stats.row_bytes / max(1, stats.num_rows),
            "mean_probes": stats.mean_probes,
            "load_factor": stats.load_factor,
            "huge_page_share": stats.huge_page_share,
        }

    def _draw(self, random, work, count, batch, zipf, hit_rate):
        """Returns `count` batches of one length."""
        if work == "insert":
            begin = self._next_row
            self._next_row += count * batch
            return np.arange(begin, self._next_row).reshape(count, batch)
        numbers = common.zipf(random, self._num_rows, zipf, (count, batch))
        if hit_rate < 1:
            absent = random.random(numbers.shape) >= hit_rate
            numbers[absent] = -1 - random.integers(1 << 30, size=absent.sum())
        if work == "lookup":
            return numbers
        parts = [common.distinct(random, part, None) for part in numbers]
        shortest = min(map(len, parts))
        return [part[:shortest] for part in parts]


class Growth:
    """One table that grows from empty, and its memory."""

    def __init__(
        self, *, peer: str, dim: int, optimizer: str, batch: int, capacity: int
    ):
        """Makes an empty table.

        Args:
            peer: Table, ready (for `capacity` rows), untracked (a table without
                tracks_changes) or tfra.
            dim: Floats of a row.
            optimizer: Kind of it.
            batch: New ids a batch.
            capacity: Rows that a table is made ready for.
        """
        self._dim, self._batch = dim, batch
        self._rows = _gradients(batch, dim)
        self._floats = dim * (1 + table_peers.SLOTS[optimizer])
        self._work = "update"

        def make(name, capacity=0):
            if peer == "tfra":
                # Written rows have no slots.
                self._floats, self._work = dim, "insert"
                return table_peers.Tfra(dim, optimizer, None, name)
            table = table_peers.Table(
                dim, optimizer, peer != "untracked", capacity
            )
            self._table = table
            return table_peers.Raw(table)

        self._peer = make("first")
        for begin in range(0, 8 * batch, batch):
            self._insert(begin)
        self._peer = self._table = None
        self._before = _clean_resident_bytes()
        self._peer = make("second", capacity)

    def grow(self, *, begin: int, end: int) -> dict:
        """Inserts rows begin to end; returns seconds of batches."""
        clock = _Clock()
        for first in range(begin, end, self._batch):
            self._insert(first, clock)
        return clock.seconds

    def memory(self, *, num_rows: int) -> dict:
        """Returns bytes per row above its floats, and the table's statistics.

        Args:
            num_rows: How many there are.
        """
        resident = _clean_resident_bytes() - self._before
        rows = 4 * self._floats * num_rows
        result = {
            "ids": num_rows,
            "resident_bytes": resident,
            "floats_of_row": self._floats,
            "bytes_per_id": (resident - rows) / num_rows,
        }
        if self._table is not None:
            stats = self._table.table.stats()
            result |= {
                "load_factor": stats.load_factor,
                "huge_page_share": stats.huge_page_share,
                "accounted_bytes_per_id": (stats.memory_bytes - rows)
                / num_rows,
            }
        return result

    def _insert(self, begin: int, clock: _Clock | None = None) -> None:
        numbers = np.arange(begin, begin + self._batch)
        arguments = self._peer.arguments(self._work, numbers, self._rows)
        call = self._peer.works[self._work]
        (clock or _Clock()).time(lambda: call(*arguments))


class Checkpoint:
    """Save and restore of a full table."""

    def __init__(
        self, *, peer: str, num_rows: int, dim: int, optimizer: str, folder: str
    ):
        """Fills the table.

        Args:
            peer: Table or dense.
            num_rows: Its rows.
            dim: Floats of a row.
            optimizer: Kind of it.
            folder: Where to write; None for the system's.
        """
        self._folder = folder
        if peer == "table":
            table = table_peers.Table(dim, optimizer)
            _fill(table_peers.Raw(table), "update", num_rows, dim)
            self._checkpoint = tf.train.Checkpoint(table=table.table)
        else:
            dense = table_peers.Dense(
                tf.Variable(tf.zeros([num_rows, dim])), optimizer
            )
            self._checkpoint = tf.train.Checkpoint(
                weights=dense.weights, slots=dense.slots
            )

    def run(self) -> dict:
        """Saves and restores; returns seconds of both and bytes written."""
        saved, restored = _Clock(), _Clock()
        before = common.resident_bytes()
        folder = tempfile.mkdtemp(dir=self._folder)
        try:
            prefix = os.path.join(folder, "checkpoint")
            saved.time(lambda: self._checkpoint.write(prefix))
            after = common.resident_bytes()
            size = sum(entry.stat().st_size for entry in os.scandir(folder))
            restored.time(
                lambda: self._checkpoint.read(prefix).assert_consumed()
            )
        finally:
            shutil.rmtree(folder)
        return {
            "save_seconds": {k: v[0] for k, v in saved.seconds.items()},
            "restore_seconds": {k: v[0] for k, v in restored.seconds.items()},
            "bytes": size,
            "resident_bytes_more_after_save": after - before,
        }


class Eviction:
    """A table whose rows expire, except for a random tenth."""

    def __init__(self, *, num_rows: int, dim: int, optimizer: str):
        """Fills the table.

        Args:
            num_rows: Rows before.
            dim: Floats of a row.
            optimizer: Kind of it.
        """
        self._num_rows, self._dim, self._optimizer = num_rows, dim, optimizer
        order = np.random.default_rng(3).permutation(num_rows)
        self._survivors = np.sort(order[: num_rows // _SURVIVORS])
        self._expired = np.sort(order[num_rows // _SURVIVORS :])
        self._make(range(0, min(8 * _FILL_BATCH, num_rows)))
        self._forget()
        self._before = _clean_resident_bytes()

    def _forget(self) -> None:
        self._table = self._set = self._lookup = None

    def run(self) -> dict:
        """Evicts while another thread reads; compares with a fresh table."""
        # In one order, so that expired and surviving rows are mixed.
        self._make(range(self._num_rows), self._survivors)
        full = _clean_resident_bytes() - self._before
        stop = threading.Event()
        # Traces the function.
        self._look_up(np.random.default_rng(5), _Clock())
        lookups = _Clock()
        reader = threading.Thread(target=self._read, args=(stop, lookups))
        reader.start()
        swept = _Clock()
        evicted = []
        swept.time(
            lambda: evicted.append(self._table.table.sweep(_EPOCH + 150))
        )
        stop.set()
        reader.join()
        left = _clean_resident_bytes() - self._before
        size = self._table.table.size()
        self._forget()
        before = _clean_resident_bytes()
        self._make(self._survivors, self._survivors)
        fresh = _clean_resident_bytes() - before
        slowest = max(lookups.seconds["wall"], default=0.0)
        return {
            "rows_before": self._num_rows,
            "rows_after": size,
            "evicted": evicted[0],
            "sweep_seconds": {k: v[0] for k, v in swept.seconds.items()},
            "slowest_lookup_meanwhile_seconds": slowest,
            "lookups_meanwhile": len(lookups.seconds["wall"]),
            "resident_bytes": {"full": full, "left": left, "fresh": fresh},
            "ratio_to_fresh": left / fresh if fresh > 0 else None,
        }

    def _make(self, numbers, survivors=()) -> None:
        """Creates a table; survivors have a later time than the others."""
        import monolith_tf as mt

        with mt.TableSet() as self._set:
            table = mt.Table(
                mt.TableConfig(
                    "benchmark",
                    dim=self._dim,
                    optimizer=table_peers.row_optimizer(self._optimizer),
                    eviction=mt.Eviction(ttl_seconds=100),
                )
            )

        @table_peers.function(self._dim)
        def early(ids, rows):
            table.apply_gradients(ids, rows, step=0, event_time=_EPOCH)

        @table_peers.function(self._dim)
        def late(ids, rows):
            table.apply_gradients(ids, rows, step=0, event_time=_EPOCH + 100)

        @table_peers.function(self._dim)
        def lookup(ids, rows):
            del rows
            return table.lookup(ids)

        rows = _gradients(_FILL_BATCH, self._dim)
        if numbers is survivors:
            parts = [(late, np.asarray(numbers))]
        else:
            parts = [(early, np.arange(len(numbers))), (late, survivors)]
        for update, these in parts:
            for begin in range(0, len(these), _FILL_BATCH):
                part = these[begin : begin + _FILL_BATCH]
                ids = tf.constant(common.spread(part), tf.int64)
                update(ids, rows[: len(part)])
        self._table, self._lookup = table_peers.Peer(), lookup
        self._table.table = table

    def _read(self, stop: threading.Event, clock: _Clock) -> None:
        random = np.random.default_rng(4)
        while not stop.is_set():
            self._look_up(random, clock)

    def _look_up(self, random: np.random.Generator, clock: _Clock) -> None:
        numbers = random.choice(self._survivors, 16_384)
        ids = tf.constant(common.spread(numbers))
        rows = tf.zeros([0, self._dim])
        clock.time(lambda: self._lookup(ids, rows))
