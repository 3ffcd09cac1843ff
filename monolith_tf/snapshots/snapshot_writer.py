"""Writes snapshots of one model, full ones and increments."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from monolith_tf.checkpoint import durable_files
from monolith_tf.checkpoint.layout import named_layout
from monolith_tf.errors import in_one_line
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.writers import fence_older
from monolith_tf.snapshots.manifest import File
from monolith_tf.snapshots.manifest import Manifest
from monolith_tf.snapshots.manifest import Part
from monolith_tf.snapshots.manifest import SavedTable
from monolith_tf.snapshots.parallel import in_parallel
from monolith_tf.snapshots.saved_objects import SavedObjects
from monolith_tf.snapshots.saved_objects import part_name
from monolith_tf.snapshots.store import DENSE
from monolith_tf.snapshots.store import SnapshotStore
from monolith_tf.snapshots.writer_epoch import WriterEpoch

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Moment:
    """A snapshot whose moment is taken and whose rows are not written yet.

    Attributes:
        number: Number of the snapshot.
        snapshot_id: 32 random hexadecimal digits.
        parent: The snapshot that it continues, or None.
        step: The step that the caller gave.
        positions: The positions that the caller gave.
        cuts: Per table set and shard: generation, from_cut, to_cut.
        event_time: The latest event time of the tables.
        stall_seconds: How long taking the moment took.
    """

    number: int
    snapshot_id: str
    parent: Manifest | None
    step: int
    positions: dict[str, Any]
    cuts: tuple[tuple[tuple[int, int, int], ...], ...]
    event_time: int
    stall_seconds: float


class SnapshotWriter:
    """Writes the snapshots of a model into a directory.

    A snapshot is taken in two steps. `begin` takes the moment, with no update
    running: dense variables are written, and every server starts to copy rows
    before they change. `finish` writes the rows while training continues, and
    makes the snapshot durable. `save` does both.

    The first snapshot of a writer is full. Later ones hold what changed since
    the one before, up to `full_every - 1` in a row. A writer whose snapshots
    fail continues with the next: nothing is lost but that snapshot. A new
    writer fences an older one of the directory (`WriterEpoch`), unless both are
    of one process.

    Args:
        model: A Keras model, a `tf.train.Checkpoint`, or another object that
            TensorFlow tracks, with tables; or `SavedObjects`.
        directory: Where the snapshots go. Under a `ParameterServerStrategy` all
            processes must see it by this path.
        keep: Number of whole snapshots to keep, with those that they continue.
        full_every: Every how many snapshots one is full; 1 for no increments.

    Raises:
        TypeError: TensorFlow does not track the model.
        ValueError: The model has no table, or a number is below 1.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig("movie", dim=1))
    >>> model = tf.train.Checkpoint(table=table)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = SnapshotWriter(model, folder)
    ...     table.assign([1, 2], [[0.5], [0.25]])
    ...     first = writer.save()
    ...     table.assign([2], [[0.75]])
    ...     second = writer.save()
    ...     first.num_rows, second.num_rows, second.parent
    (2, 1, 1)
    """

    def __init__(
        self,
        model: Any,
        directory: str | os.PathLike[str],
        *,
        keep: int = 3,
        full_every: int = 10,
    ):
        """Writes nothing yet."""
        for name, value in (("keep", keep), ("full_every", full_every)):
            if value < 1:
                raise ValueError(
                    f"SnapshotWriter needs {name} of at least 1. Received: "
                    f"{name}={value}."
                )
        self.store = SnapshotStore(directory)
        self._objects = SavedObjects.of(model)
        self._epoch = WriterEpoch(directory)
        fence_older(self._objects.table_sets(), self._epoch.number)
        self._keep = keep
        self._full_every = full_every
        self._last: Manifest | None = None
        self._num_increments = 0

    def table_sets(self) -> list[TableSet]:
        """Returns the table sets of the model."""
        return self._objects.table_sets()

    def save(
        self,
        step: int = 0,
        positions: Mapping[str, Any] | None = None,
        full: bool = False,
    ) -> Manifest:
        """Writes a snapshot; no update may run until it is there.

        Args:
            step: Number of training steps so far, for the manifest.
            positions: Positions of streams at this moment, by name: anything
                that JSON holds.
            full: Writes all rows, also where an increment would do.

        Returns:
            The manifest of the durable snapshot.

        Raises:
            tf.errors.OpError: A server or a disk failed. The snapshot does not
                exist.
            OSError: The same, in this process.
        """
        return self.finish(self.begin(step, positions, full))

    def begin(
        self,
        step: int = 0,
        positions: Mapping[str, Any] | None = None,
        full: bool = False,
    ) -> Moment:
        """Takes the moment of a snapshot; no update may run meanwhile.

        Args:
            step: As in `save`.
            positions: As in `save`.
            full: As in `save`.

        Returns:
            What `finish` needs. A later `begin` drops it.
        """
        started = time.monotonic()
        numbers = self.store.numbers()
        number = numbers[-1] + 1 if numbers else 1
        parent = None if full else self._parent()
        cuts = self._begin_parts(parent)
        if cuts is None:
            parent = None
            cuts = self._begin_parts(None)
        tf.io.gfile.makedirs(self.store.folder(number))
        try:
            event_time = self._objects.event_time()
            self._objects.write_dense(self.store.path(number, DENSE))
        except BaseException:
            self._abort()
            raise
        return Moment(
            number=number,
            snapshot_id=secrets.token_hex(16),
            parent=parent,
            step=int(step),
            positions=dict(positions or {}),
            cuts=cuts,
            event_time=event_time,
            stall_seconds=time.monotonic() - started,
        )

    def finish(self, moment: Moment) -> Manifest:
        """Writes the rows of a moment and makes the snapshot durable.

        Training may continue meanwhile; call it from any thread.

        Args:
            moment: What `begin` returned, not finished yet.

        Returns:
            The manifest.

        Raises:
            FencedError: A newer writer took the directory.
            tf.errors.OpError: As in `save`.
            OSError: As in `save`.
        """
        try:
            parts = self._write_parts(moment)
            manifest = self._manifest(moment, parts, self._dense_files(moment))
            self._epoch.check()
            self.store.publish(manifest)
        except BaseException:
            self._abort()
            raise
        self._last = manifest
        self._num_increments = (
            0 if manifest.is_full else self._num_increments + 1
        )
        self.store.prune(self._keep)
        return manifest

    def _parent(self) -> Manifest | None:
        if self._last is None or self._num_increments + 1 >= self._full_every:
            return None
        saved = [part.generation for part in self._last.parts]
        # After a restore, or a restart of a server, nobody knows what follows.
        return self._last if self._objects.generations() == saved else None

    def _begin_parts(self, parent: Manifest | None):
        """Begins on all servers.

        Returns:
            The cuts; None if a server does not know what follows the parent.
        """
        cuts = []
        for number, table_set in enumerate(self._objects.table_sets()):
            before = _parts_of(parent, number, table_set)
            if parent is not None and before is None:
                self._abort()
                return None
            calls = []
            for shard in range(table_set.num_shards):
                cut = -1 if before is None else before[shard].to_cut
                calls.append((table_set, shard, cut))
            try:
                found = tuple(in_parallel(self._objects.begin_part, calls))
            except tf.errors.OutOfRangeError as error:
                self._abort()
                if parent is None:
                    raise
                _log.warning(
                    "Writing a full snapshot in place of an increment: %s",
                    in_one_line(error),
                )
                return None
            if before is not None and any(
                moment[0] != part.generation
                for moment, part in zip(found, before, strict=True)
            ):
                self._abort()
                return None
            cuts.append(found)
        return tuple(cuts)

    def _abort(self) -> None:
        for table_set in self._objects.table_sets():
            for shard in range(table_set.num_shards):
                try:
                    self._objects.abort_part(table_set, shard)
                except tf.errors.OpError as error:
                    # A server that is gone writes nothing.
                    _log.warning(
                        "Could not abort a snapshot: %s", in_one_line(error)
                    )

    def _write_parts(self, moment: Moment) -> list[Part]:
        calls = []
        for number, table_set in enumerate(self._objects.table_sets()):
            for shard in range(table_set.num_shards):
                calls.append((moment, number, table_set, shard))
        return in_parallel(self._write_part, calls)

    def _write_part(
        self, moment: Moment, number: int, table_set: TableSet, shard: int
    ) -> Part:
        name = part_name(number, shard, table_set.num_shards)
        num_bytes, crc, num_rows, num_removed, _ = self._objects.write_part(
            table_set,
            shard,
            self.store.path(moment.number, name),
            bytes.fromhex(moment.snapshot_id),
        )
        generation, from_cut, to_cut = moment.cuts[number][shard]
        return Part(
            name=name,
            num_bytes=num_bytes,
            crc32c=crc,
            table_set=number,
            shard=shard,
            num_shards=table_set.num_shards,
            generation=generation,
            from_cut=from_cut,
            to_cut=to_cut,
            num_rows=num_rows,
            num_removed=num_removed,
        )

    def _dense_files(self, moment: Moment) -> list[File]:
        found = []
        folder = self.store.folder(moment.number)
        for name in sorted(tf.io.gfile.listdir(folder)):
            if not re.match(rf"{DENSE}\.(index|data-\d+-of-\d+)$", name):
                continue
            path = os.path.join(folder, name)
            durable_files.sync_file(path)
            found.append(File(name, *durable_files.checksum(path)))
        return found

    def _manifest(self, moment: Moment, parts, dense) -> Manifest:
        parent = moment.parent
        return Manifest(
            number=moment.number,
            snapshot_id=moment.snapshot_id,
            parent=None if parent is None else parent.number,
            parent_id=None if parent is None else parent.snapshot_id,
            step=moment.step,
            event_time=moment.event_time,
            created_unix_seconds=time.time(),
            tables=tuple(_saved_tables(self._objects.table_sets())),
            parts=tuple(parts),
            dense=tuple(dense),
            positions=moment.positions,
            versions={
                "monolith_tf": importlib.metadata.version("monolith-tf"),
                "tensorflow": tf.version.VERSION,
            },
        )


def save(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    step: int = 0,
    positions: Mapping[str, Any] | None = None,
    keep: int = 3,
) -> Manifest:
    """Writes a full snapshot of a model; no update may run until it is there.

    For snapshots during training use `mt.callbacks.Snapshots`, or a
    `SnapshotWriter`, which also writes increments.

    Args:
        model: As in `SnapshotWriter`.
        directory: As in `SnapshotWriter`.
        step: As in `SnapshotWriter.save`.
        positions: As in `SnapshotWriter.save`.
        keep: As in `SnapshotWriter`.

    Returns:
        The manifest of the durable snapshot.

    Example:
    >>> import tempfile
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig("movie", dim=2))
    >>> model = tf.train.Checkpoint(table=table)
    >>> table.assign([7], [[1.0, 2.0]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     saved = mt.snapshots.save(model, folder, step=100)
    ...     table.assign([7], [[3.0, 4.0]])
    ...     restored = mt.snapshots.restore(model, folder)
    >>> restored.step, table.lookup([7]).numpy()
    (100, array([[1., 2.]], dtype=float32))
    """
    writer = SnapshotWriter(model, directory, keep=keep)
    return writer.save(step, positions, full=True)


def _saved_tables(table_sets: list[TableSet]) -> Iterable[SavedTable]:
    for number, table_set in enumerate(table_sets):
        for table in table_set.tables:
            yield SavedTable(
                name=table.name,
                table_set=number,
                config=_plain(table.config.get_config()),
                layout=named_layout(table),
                filter=table.config.admission.filter_layout,
                is_whole=not table.config.tracks_changes,
            )


def _plain(value: Any) -> Any:
    """Returns a config as JSON holds it; arrays and functions as text."""
    if isinstance(value, dict):
        return {str(key): _plain(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(x) for x in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)


def _parts_of(
    parent: Manifest | None, number: int, table_set: TableSet
) -> list[Part] | None:
    """Returns the parent's parts of a table set by shard, None if others."""
    if parent is None:
        return None
    parts = {
        part.shard: part for part in parent.parts if part.table_set == number
    }
    shards = range(table_set.num_shards)
    if sorted(parts) != list(shards):
        return None
    return [parts[shard] for shard in shards]
