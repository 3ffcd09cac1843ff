"""Reads snapshots back into a model."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from monolith_tf.checkpoint.layout import check_fits
from monolith_tf.errors import CheckpointError
from monolith_tf.errors import FormatError
from monolith_tf.errors import in_one_line
from monolith_tf.placement.sharding import NUM_PARTITIONS
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.manifest import Part
from monolith_tf.snapshots.parallel import in_parallel
from monolith_tf.snapshots.saved_objects import SavedObjects
from monolith_tf.snapshots.store import DENSE
from monolith_tf.snapshots.store import SnapshotStore
from monolith_tf.table import Table

_log = logging.getLogger(__name__)


def latest(directory: str | os.PathLike[str]) -> Manifest | None:
    """Returns the newest whole snapshot of a directory, or None.

    Logs an error for each damaged one that it passes over.

    Args:
        directory: A directory of snapshots; it need not exist.
    """
    return SnapshotStore(directory).latest()


def restore(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    number: int | None = None,
    tables: Sequence[str] | None = None,
    allow_fresh: bool = False,
) -> Manifest | None:
    """Restores a model from a snapshot.

    The number of parameter servers may differ from the one that saved. While
    rows are read, lookups and updates of the model's tables fail; afterwards
    every shard has a new generation. If a file turns out to be damaged, the
    next older whole snapshot is read, and the damage is logged.

    Args:
        model: As in `SnapshotWriter`.
        directory: Directory of the snapshots.
        number: The snapshot; None for the newest whole one.
        tables: Names of the tables to restore; None for all of the model, and
            for its dense variables. With names, only rows are restored.
        allow_fresh: Returns None where no snapshot is whole, although files of
            snapshots exist.

    Returns:
        The manifest of what was restored, None if the directory has none.

    Raises:
        CheckpointError: No snapshot is whole, or it does not fit the model.
        FormatError: A file of snapshot `number` is damaged.
        tf.errors.OpError: A server failed. Its tables stay as they are in the
            middle of a restore: restore again.
    """
    store = SnapshotStore(directory)
    restorer = Restorer(store, SavedObjects.of(model), tables)
    if number is not None:
        return restorer.restore(store.check(number))
    return from_newest(store, restorer.restore, allow_fresh)


def from_newest(
    store: SnapshotStore,
    read: Callable[[list[Manifest]], Any],
    allow_fresh: bool,
) -> Any:
    """Returns read(chain) of the newest whole snapshot, or None."""
    for manifest in store.whole():
        try:
            return read(store.chain(manifest.number))
        except (FormatError, tf.errors.DataLossError) as error:
            _log.error(
                "Passing over snapshot %d: %s",
                manifest.number,
                in_one_line(error),
            )
    if store.has_been_used() and not allow_fresh:
        raise CheckpointError(
            f"{store.directory!r} has files of the snapshots "
            f"{store.numbers()}, and none is whole. Restore a copy of the "
            "directory, or pass allow_fresh=True to begin with the rows of "
            "the model as they are."
        )
    return None


class Restorer:
    """Reads chains of snapshots into one model.

    Args:
        store: The snapshots.
        objects: The objects of the model.
        tables: Names of the tables to restore; None for everything.
    """

    def __init__(
        self,
        store: SnapshotStore,
        objects: SavedObjects,
        tables: Sequence[str] | None,
    ):
        """Reads nothing yet."""
        self._store = store
        self._objects = objects
        self._only = None if tables is None else set(tables)

    def restore(self, chain: list[Manifest]) -> Manifest:
        """Reads a chain; the full snapshot is first."""
        manifest = chain[-1]
        chosen = self.chosen(manifest)
        # Rows are checked block by block as they are read.
        for file in manifest.dense:
            self._store.check_file(manifest, file, contents=True)
        with self._objects.restoring(chosen):
            for snapshot in chain:
                self.read_rows(snapshot, chosen, is_last=snapshot is manifest)
            if self._only is None:
                path = self._store.path(manifest.number, DENSE)
                self._objects.read_dense(path)
        _log.info(
            "Restored snapshot %d of step %d: %d rows in %d files.",
            manifest.number,
            manifest.step,
            sum(snapshot.num_rows for snapshot in chain),
            sum(len(snapshot.parts) for snapshot in chain),
        )
        return manifest

    def chosen(self, manifest: Manifest) -> list[Table]:
        """Returns the tables to restore, which fit what was saved."""
        saved = {table.name: table for table in manifest.tables}
        live = {table.name: table for table in self._objects.tables()}
        wanted = set(live) if self._only is None else self._only
        if missing := sorted(wanted - set(saved)):
            raise CheckpointError(
                f"Snapshot {manifest.number} has no table {missing[0]!r}. Its "
                f"tables: {sorted(saved)}. Restore the tables that it has by "
                "tables=[...]."
            )
        if unknown := sorted(wanted - set(live)):
            raise CheckpointError(
                f"The model has no table {unknown[0]!r}. Its tables: "
                f"{sorted(live)}."
            )
        for name in sorted(wanted):
            check_fits(live[name], saved[name].layout, saved[name].filter)
        return [live[name] for name in sorted(wanted)]

    def read_rows(
        self,
        snapshot: Manifest,
        chosen: list[Table],
        is_last: bool,
        only: Collection[tuple[int, int]] | None = None,
    ) -> None:
        """Reads the parts of one snapshot, on all servers at once.

        Args:
            snapshot: The snapshot.
            chosen: The tables to read.
            is_last: Reads the state of the tables too.
            only: The shards to read, as (table set, shard); None for all.
        """
        saved = {table.name: table for table in snapshot.tables}
        calls = []
        for own, table_set in enumerate(self._objects.table_sets()):
            for number in sorted({t.table_set for t in snapshot.tables}):
                names = tuple(
                    table.name
                    for table in chosen
                    if table.table_set is table_set
                    and table.name in saved
                    and saved[table.name].table_set == number
                    # The last snapshot has all rows of such a table.
                    and (is_last or not saved[table.name].is_whole)
                )
                if not names:
                    continue
                for shard in range(table_set.num_shards):
                    if only is not None and (own, shard) not in only:
                        continue
                    parts = [
                        part
                        for part in snapshot.parts
                        if part.table_set == number
                        and _overlap(part, shard, table_set.num_shards)
                    ]
                    calls.append(
                        (snapshot, table_set, shard, names, is_last, parts)
                    )
        in_parallel(self._read_shard, calls)

    def _read_shard(
        self, snapshot, table_set, shard, names, reads_state, parts
    ) -> None:
        for part in parts:
            path = self._store.path(snapshot.number, part.name)
            counts = self._objects.read_part(
                table_set, shard, path, names, reads_state
            )
            _log.debug("%s: %s rows and removed ids", path, counts)


def _overlap(part: Part, shard: int, num_shards: int) -> bool:
    """Returns True if a part may hold ids of a shard."""
    first, end = _partitions(part.shard, part.num_shards)
    own_first, own_end = _partitions(shard, num_shards)
    return first < own_end and own_first < end


def _partitions(shard: int, num_shards: int) -> tuple[int, int]:
    """Returns the partitions of a shard, [first, end)."""
    return (
        -(-shard * NUM_PARTITIONS // num_shards),
        -(-(shard + 1) * NUM_PARTITIONS // num_shards),
    )
