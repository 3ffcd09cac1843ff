"""The chief of a job takes over from one that is gone."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.placement.table_set import new_generation
from monolith_tf.placement.table_set import servers_of
from monolith_tf.placement.writers import adopt
from monolith_tf.placement.writers import fence_older
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.restoring import Restorer
from monolith_tf.snapshots.restoring import from_newest
from monolith_tf.snapshots.saved_objects import SavedObjects
from monolith_tf.snapshots.store import DENSE
from monolith_tf.snapshots.store import SnapshotStore
from monolith_tf.snapshots.writer_epoch import WriterEpoch

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Recovery:
    """A recovery of a job whose servers may still have their rows.

    Attributes:
        manifest: The snapshot that was read.
        kept: Shards that keep their rows, as (table set, shard), ordered.
        read: Shards whose rows were read from the snapshot, likewise.
        lost_steps: Steps after the snapshot whose updates of the shards in
            `read` are lost, as far as the kept shards know them.
        lost_seconds: Age of the snapshot when the recovery began: updates of
            the shards in `read` that are younger are lost.
    """

    manifest: Manifest
    kept: tuple[tuple[int, int], ...]
    read: tuple[tuple[int, int], ...]
    lost_steps: int
    lost_seconds: float


def recover(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    partial: bool = False,
    allow_fresh: bool = False,
) -> Recovery | None:
    """Continues a job of parameter servers from its own snapshots.

    For the chief that replaces one that is gone. It takes the next epoch of the
    directory: from then on the servers and the directory refuse the older
    chief, and the servers free its tables.

    An exact recovery takes all servers back to the newest whole snapshot. A
    partial one reads only the shards whose server lost its rows. The others
    keep theirs, so they are ahead by the steps since the snapshot. Dense
    variables are always read. A shard whose generation is not that of the
    snapshot is read too.

    Args:
        model: As in `SnapshotWriter`. Its tables are new, not trained yet.
        directory: Directory of the snapshots that this job writes.
        partial: Keeps rows that servers still have.
        allow_fresh: As in `restore`.

    Returns:
        What was kept and read; None if the directory has no snapshot.

    Raises:
        CheckpointError: As in `restore`.
        tf.errors.AbortedError: A newer chief writes to the servers.
        tf.errors.OpError: As in `restore`.
    """
    store = SnapshotStore(directory)
    objects = SavedObjects.of(model)
    epoch = WriterEpoch(directory).number
    if not partial:
        # First, so that no server holds the rows twice.
        fence_older(objects.table_sets(), epoch)
    recoverer = _Recoverer(store, objects, epoch if partial else None)
    recovery = from_newest(store, recoverer.recover, allow_fresh)
    if partial:
        fence_older(objects.table_sets(), epoch)
    return recovery


class _Recoverer:
    """Reads what servers have lost.

    Args:
        store: The snapshots.
        objects: The objects of the model.
        epoch: Epoch of this chief, with which servers keep their rows; None
            if all of them are read.
    """

    def __init__(
        self, store: SnapshotStore, objects: SavedObjects, epoch: int | None
    ):
        self._store = store
        self._objects = objects
        self._epoch = epoch
        self._restorer = Restorer(store, objects, None)

    def recover(self, chain: list[Manifest]) -> Recovery:
        """Reads a chain; the full snapshot is first."""
        manifest = chain[-1]
        age = max(0.0, time.time() - manifest.created_unix_seconds)
        kept = set() if self._epoch is None else self._adopt(manifest)
        shards = {
            (number, shard)
            for number, table_set in enumerate(self._objects.table_sets())
            for shard in range(table_set.num_shards)
        }
        if not kept:
            self._restorer.restore(chain)
            lost_steps = 0
        else:
            lost_steps = self._read_lost(chain, shards - kept)
        recovery = Recovery(
            manifest,
            tuple(sorted(kept)),
            tuple(sorted(shards - kept)),
            lost_steps,
            age if kept and shards - kept else 0.0,
        )
        if kept:
            _log.warning(
                "Partial recovery from snapshot %d of step %d, %.1f s old: "
                "kept the shards %s, read %s; %d steps of these are lost.",
                manifest.number,
                manifest.step,
                age,
                list(recovery.kept),
                list(recovery.read),
                lost_steps,
            )
        return recovery

    def _adopt(self, manifest: Manifest) -> set[tuple[int, int]]:
        """Continues the rows that servers have; returns which shards do."""
        kept = set()
        names = {
            number: {t.name for t in manifest.tables if t.table_set == number}
            for number in {table.table_set for table in manifest.tables}
        }
        self._restorer.chosen(manifest)
        for number, table_set in enumerate(self._objects.table_sets()):
            same = [
                other
                for other, tables in names.items()
                if tables == {table.name for table in table_set.tables}
            ]
            for part in manifest.parts:
                if (
                    part.table_set in same
                    and part.num_shards == table_set.num_shards
                    and adopt(
                        table_set, part.shard, part.generation, self._epoch
                    )
                ):
                    kept.add((number, part.shard))
        return kept

    def _read_lost(
        self, chain: list[Manifest], lost: Collection[tuple[int, int]]
    ) -> int:
        """Reads some shards and everything that is dense.

        Returns:
            The steps that the other shards are ahead.
        """
        manifest = chain[-1]
        chosen = self._restorer.chosen(manifest)
        for file in manifest.dense:
            self._store.check_file(manifest, file, contents=True)
        table_sets = self._objects.table_sets()
        names = {
            number: tuple(table.name for table in table_set.tables)
            for number, table_set in enumerate(table_sets)
        }
        for number, shard in lost:
            device, handle = servers_of(table_sets[number])[shard]
            with tf.device(device):
                ops.begin_restore(handle, tables=names[number])
                for table in names[number]:
                    ops.clear(handle, table=table)
        for snapshot in chain:
            self._restorer.read_rows(
                snapshot, chosen, snapshot is manifest, lost
            )
        self._objects.read_dense(self._store.path(manifest.number, DENSE))
        for number, shard in lost:
            device, handle = servers_of(table_sets[number])[shard]
            with tf.device(device):
                ops.end_restore(
                    handle, tables=names[number], generation=new_generation()
                )
        ahead = 0
        for number, table_set in enumerate(table_sets):
            for table in table_set.tables:
                steps = [step for step, _ in table_set.clocks(table.name)]
                mine = [
                    step
                    for shard, step in enumerate(steps)
                    if (number, shard) in lost
                ]
                if mine:
                    ahead = max(ahead, max(steps) - min(mine))
        return ahead
