"""The table: rows of float32 for ids that nobody counted in advance."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.python.trackable import base as trackable

from monolith_tf import ops
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint import tf1_graph
from monolith_tf.config import feature_overrides
from monolith_tf.config.table_config import TableConfig
from monolith_tf.errors import MonolithError
from monolith_tf.metrics.table_stats import TableStats
from monolith_tf.metrics.table_stats import stats as stats_of
from monolith_tf.placement.registry import table_set_for
from monolith_tf.placement.table_set import TableSet
from monolith_tf.step.apply import apply_row_gradients
from monolith_tf.step.arguments import rate_for
from monolith_tf.step.arguments import rows_for
from monolith_tf.step.arguments import vector_of_ids
from monolith_tf.step.event_time import current_event_time
from monolith_tf.step.lookup import lookup_rows
from monolith_tf.step.table_variable import TableVariable

_making = threading.RLock()


class Table(trackable.Trackable):
    """A named set of rows, sharded over the servers of the open strategy.

    Every int64 is an id, and two ids never share a row. A lookup changes
    nothing; a row is made by the first gradient or assignment. Given a config
    *object* that a live table was made of, `Table` returns that table.

    A table is trackable: `tf.train.Checkpoint(table=table)` keeps its rows and
    slots, and restores them on any number of servers.

    Args:
        config: `mt.TableConfig`.

    Raises:
        TypeError: `config` is not a `TableConfig`.
        ValueError: The current table set has another table of that name.

    Example:
    >>> import monolith_tf as mt
    >>> table = mt.Table(mt.TableConfig(
    ...     "movie", dim=2, optimizer=mt.optimizers.SGD(0.5),
    ...     initializer=mt.initializers.Constant(1.0)))
    >>> table.apply_gradients([7, 7], [[1.0, 0.0], [1.0, 2.0]])
    >>> table.lookup([7, 8]).numpy()
    array([[0., 0.],
           [1., 1.]], dtype=float32)
    >>> table.size()
    1
    """

    def __new__(cls, config: TableConfig):
        """Returns the live table of this config object, or a new one."""
        if not isinstance(config, TableConfig):
            raise TypeError(
                "mt.Table needs an mt.TableConfig. Received: "
                f"{config!r} (of type {type(config).__name__})."
            )
        # Threads that come at once get one table, whole.
        with _making:
            table_set = table_set_for(config)
            found = table_set.find(config.name)
            if found is not None:
                return found
            table = super().__new__(cls)
            table._make(config, table_set)
            return table

    def __init__(self, config: TableConfig):
        """All is done in `__new__`, which may return a live table."""
        del config

    def _make(self, config: TableConfig, table_set: TableSet) -> None:
        self._config = config
        self._table_set = table_set
        created = table_set.create(self)
        self._anchors: dict[int, TableVariable] = {}
        self.anchor_of(0)
        if table_set.graph is None:
            self._step = _step_variable(table_set.devices[0])
        else:
            self._step = tf1_graph.ready_variables(self, created)[0]

    @property
    def config(self) -> TableConfig:
        """The table's config."""
        return self._config

    @property
    def name(self) -> str:
        """The table's name."""
        return self._config.name

    @property
    def dim(self) -> int:
        """Length of a row."""
        return self._config.dim

    @property
    def table_set(self) -> TableSet:
        """The table set that the table lives in."""
        return self._table_set

    @property
    def anchor(self) -> TableVariable:
        """The zero-row variable that gradients of lookups are taken for."""
        return self._anchors[0]

    def anchor_of(self, own_terms: int) -> TableVariable:
        """The zero-row variable of features with terms of their own.

        Args:
            own_terms: The `OwnTerms.word` of the features; 0 for the table's.

        Returns:
            One for each number; made the first time.
        """
        if own_terms not in self._anchors:
            self._anchors[own_terms] = TableVariable(
                self,
                self._table_set.devices[0],
                _open_strategy() or self._table_set.strategy,
                own_terms,
            )
        return self._anchors[own_terms]

    @property
    def trainable_variables(self) -> list[TableVariable]:
        """What a `tf.GradientTape` takes as sources, as of a layer.

        One variable, and one more for each min_count and ttl of features.
        """
        return list(self._anchors.values())

    def lookup(self, ids) -> tf.Tensor:
        """Reads rows; an unseen id reads its initial row and stays unseen.

        Args:
            ids: int64 `[n]`, duplicates allowed.

        Returns:
            float32 `[n, dim]`, in the order of the ids. Its gradient goes to
            `trainable_variables`.

        Raises:
            TypeError: The ids are not integers.
            ValueError: The ids are not a vector.
            tf.errors.FailedPreconditionError: A server came back without the
                table; the message names both.
        """
        ids = vector_of_ids(self.name, ids)
        return lookup_rows([self], [ids])[0]

    def lookup_with_exists(self, ids) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads rows and tells which ids have one.

        Args:
            ids: int64 `[n]`.

        Returns:
            rows float32 `[n, dim]` and exists bool `[n]`.
        """
        ids = vector_of_ids(self.name, ids)
        owners = self._owners(ids)
        rows = tf.zeros([tf.shape(ids)[0], self.dim])
        exists = tf.zeros(tf.shape(ids), tf.bool)
        for shard, device in enumerate(self._table_set.devices):
            where = tf.where(tf.equal(owners, shard))
            mine = tf.gather_nd(ids, where)
            with tf.device(device):
                shard_rows, shard_exists = ops.lookup_with_exists(
                    self._table_set.handles[shard],
                    mine,
                    table=self.name,
                    dim=self.dim,
                )
            rows = tf.tensor_scatter_nd_update(rows, where, shard_rows)
            exists = tf.tensor_scatter_nd_update(exists, where, shard_exists)
        return rows, exists

    def apply_gradients(
        self,
        ids,
        gradients,
        *,
        step=None,
        event_time=None,
        learning_rate=None,
        min_count=None,
        ttl_seconds=None,
        probability=None,
    ) -> None:
        """Makes one optimizer step for every distinct id.

        Args:
            ids: int64 `[n]`; gradients of equal ids are summed.
            gradients: float32 `[n, dim]`; other floats are cast.
            step: int64 scalar, the steps made before this one (Adam's bias
                correction, schedules). Default: the table's own count of these
                calls.
            event_time: int64 scalar, seconds since the epoch, 0 to 2^32 - 1.
                Default: that of `mt.event_time`, or the clock.
            learning_rate: float32 scalar for this call, for all segments.
                Default: what their optimizers say.
            min_count: Occurrences that admit the ids of this call, an int, as
                that of `mt.FeatureConfig`. Default: the table's `mt.Admission`.
            ttl_seconds: How long the rows of this call live after it, an int,
                as that of `mt.FeatureConfig`. Default: what the table's
                `mt.Eviction` says.
            probability: In place of min_count: each occurrence admits its id
                with this probability, a float, as that of `mt.FeatureConfig`.

        Raises:
            TypeError: The ids are not integers or the gradients not floats,
                event_time, min_count or ttl_seconds not ints, or probability no
                number.
            ValueError: The shapes do not fit, the table can't keep min_count
                or ttl_seconds, or probability is out of range.
        """
        owner = f"apply_gradients of table {self.name!r}"
        terms = feature_overrides.word_of(
            feature_overrides.checked_min_count(owner, min_count, self.config),
            feature_overrides.checked_probability(
                owner, probability, min_count
            ),
            feature_overrides.checked_ttl(owner, ttl_seconds, self.config),
            self.config,
        )
        ids = vector_of_ids(self.name, ids)
        if terms or len(self._anchors) > 1:
            # A copy: gradients of a lookup are known by their ids, and would
            # bring the terms of its features.
            ids = tf.identity(ids)
        gradients = rows_for(self, "gradients", gradients, ids)
        own_count = step is None
        if own_count:
            step = self._step.read_value()
        rates = None
        if learning_rate is not None:
            rate = rate_for(self.name, learning_rate)
            rates = [[rate] * len(self.config.segments)]
        apply_row_gradients(
            [self],
            [tf.IndexedSlices(gradients, ids)],
            step=step,
            own_terms=(
                [tf.fill(tf.shape(ids), tf.constant(terms, tf.int64))]
                if terms
                else None
            ),
            event_time=event_time,
            learning_rates=rates,
        )
        if own_count:
            self._step.assign_add(1)

    def assign(self, ids, rows, *, event_time=None) -> None:
        """Sets rows; slots stay, and those of a new row are initial.

        Admission is not asked.

        Args:
            ids: int64 `[n]`; of a repeated id the last row stays.
            rows: float32 `[n, dim]`; other floats are cast.
            event_time: int64 scalar, seconds since the epoch, 0 to 2^32 - 1.
                Default: that of `mt.event_time`, or the clock.

        Raises:
            TypeError: The ids or the time are not integers, or the rows not
                floats.
            ValueError: The shapes do not fit.
        """
        ids = vector_of_ids(self.name, ids)
        rows = rows_for(self, "rows", rows, ids)
        for shard, mine, where in self._split(ids):
            ops.assign(
                self._table_set.handles[shard],
                mine,
                tf.gather_nd(rows, where),
                current_event_time(event_time),
                table=self.name,
            )

    def remove(self, ids) -> tf.Tensor:
        """Removes rows with their slots; unseen ids are passed over.

        Args:
            ids: int64 `[n]`.

        Returns:
            int64 scalar, how many rows there were.
        """
        removed = tf.constant(0, tf.int64)
        for shard, mine, _ in self._split(vector_of_ids(self.name, ids)):
            removed += ops.remove(
                self._table_set.handles[shard], mine, table=self.name
            )
        return removed

    def clear(self) -> None:
        """Removes every row."""
        for device, handle in self._servers():
            with tf.device(device):
                ops.clear(handle, table=self.name)

    def size(self) -> int:
        """Returns the number of rows on all servers (int64 in a function)."""
        return self._total(ops.size)

    def least_step(self) -> int:
        """Returns the step that every server has reached.

        Rows that are read later are of this step or a later one, until the
        table is restored.
        """
        clocks = self._table_set.ask(_read_clock(self.name))
        return min(int(clock[0]) for clock in clocks)

    def sweep(self, event_time=None) -> int:
        """Evicts every row that is due and gives memory back to the system.

        Updates sweep a little each; this is the rest, all at once. Others go
        on meanwhile.

        Args:
            event_time: int64 scalar, seconds since the epoch; what counts is
                the latest time that the table has seen, this one included.
                Default: that of `mt.event_time`, or the clock.

        Returns:
            How many rows went (int64 in a function).
        """
        event_time = current_event_time(event_time)
        return self._total(
            lambda handle, table: ops.sweep(handle, event_time, table=table)
        )

    def stats(self) -> TableStats:
        """Returns what the table tells about itself, over all servers."""
        return stats_of(self._table_set)[self.name]

    def memory_bytes(self) -> int:
        """Returns `TableStats.memory_bytes`, over all servers."""
        return self.stats().memory_bytes

    def export(
        self, batch_size: int = 65536
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads all rows, some at a time, while training may go on.

        Rows are what `lookup` returns of their ids. A row that is there all the
        while comes exactly once; the order is the table's own.

        Args:
            batch_size: The most rows of a part.

        Yields:
            ids int64 `[n]` and rows float32 `[n, dim]`, n <= batch_size.

        Raises:
            ValueError: `batch_size` is below 1.
        """
        for ids, _, rows in self._export(batch_size, values=True):
            yield ids, rows

    def export_whole(
        self, batch_size: int = 65536
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Does what `export` does, with times and slots.

        Yields:
            ids int64 `[n]`, stamps int64 `[n]` (seconds since the epoch of the
            last update, plus 2^32 times the frequency where an LFU cap keeps
            it), rows float32 `[n, row_width]`: weights of all segments, then
            their slots, each in the order of its optimizer's `slot_names`.
        """
        return self._export(batch_size, values=False)

    def _export(self, batch_size: int, values: bool) -> Iterator:
        if batch_size < 1:
            raise ValueError(
                f"batch_size must be at least 1. Received: {batch_size}."
            )
        for device, handle in self._servers():
            cursor = 0
            while cursor != -1:
                with tf.device(device):
                    ids, stamps, rows, next_cursor = ops.export_chunk(
                        handle,
                        tf.constant(cursor, tf.int64),
                        table=self.name,
                        max_rows=batch_size,
                        values=values,
                    )
                cursor = int(next_cursor)
                if ids.shape[0]:
                    yield ids.numpy(), stamps.numpy(), rows.numpy()

    def import_whole(self, ids, stamps, rows) -> None:
        """Sets rows with times and slots, as `export_whole` gave them.

        Args:
            ids: int64 `[n]`.
            stamps: int64 `[n]`. Where a time is 0, as of rows of a table with
                `tracks_changes=False`, the row gets the latest time that the
                table has seen; before the first, that of `mt.event_time`, or
                the clock.
            rows: float32 `[n, row_width]`.
        """
        table_state.import_whole(self, ids, stamps, rows)

    def __repr__(self) -> str:
        """Names the table and its shards."""
        return (
            f"<mt.Table {self.name!r}, dim {self.dim}, "
            f"{self._table_set.num_shards} shards>"
        )

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        if save_type == "savedmodel":
            raise MonolithError(
                f"Table {self.name!r} can't be part of a SavedModel that "
                "model.save or tf.saved_model.save writes. For serving use "
                "monolith_tf.serving.export_saved_model(model, directory); to "
                "load the model again, model.save with a path "
                "that ends in .keras."
            )
        return super()._trackable_children(save_type, **kwargs)

    def _serialize_to_tensors(self):
        return table_state.serialize(self, self._step)

    def _restore_from_tensors(self, restored_tensors):
        return table_state.restore(self, self._step, restored_tensors)

    def _servers(self):
        return zip(
            self._table_set.devices, self._table_set.handles, strict=True
        )

    def _total(self, op):
        total = 0
        for device, handle in self._servers():
            with tf.device(device):
                total += op(handle, table=self.name)
        return int(total) if tf.executing_eagerly() else total

    def _owners(self, ids: tf.Tensor) -> tf.Tensor:
        return table_state.owners(ids, self._table_set.num_shards)

    def _split(self, ids: tf.Tensor):
        """Yields shard, its ids and their positions, on the shard's device."""
        owners = self._owners(ids)
        for shard, device in enumerate(self._table_set.devices):
            where = tf.where(tf.equal(owners, shard))
            mine = tf.gather_nd(ids, where)
            with tf.device(device):
                yield shard, mine, where


@functools.cache
def _read_clock(name: str):
    # One object a name, as `ask` knows an op by.
    return functools.partial(ops.read_clock, table=name)


def _open_strategy():
    if tf.distribute.has_strategy():
        return tf.distribute.get_strategy()
    return None


def _step_variable(device: str) -> tf.Variable:
    """Counts calls of `Table.apply_gradients`, past all variable creators."""
    from tensorflow.python.ops import resource_variable_ops

    with tf.init_scope(), tf.device(device):
        return resource_variable_ops.ResourceVariable(
            tf.constant(0, tf.int64), trainable=False, name="step"
        )
