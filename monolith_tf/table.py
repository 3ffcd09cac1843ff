"""Tables: float32 rows of an unbounded id vocabulary."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow.python.trackable import base as trackable

from monolith_tf import ops
from monolith_tf.checkpoint import rows_elsewhere
from monolith_tf.checkpoint import table_state
from monolith_tf.checkpoint import tf1_graph
from monolith_tf.checkpoint.step_counter import make_step_counter
from monolith_tf.checkpoint.step_counter import step_counter
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.config import feature_overrides
from monolith_tf.config.feature_overrides import NO_OVERRIDES
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.config.table_config import TableConfig
from monolith_tf.errors import MonolithError
from monolith_tf.metrics.table_stats import TableStats
from monolith_tf.metrics.table_stats import stats as stats_of
from monolith_tf.placement.registry import table_set_for
from monolith_tf.placement.sharding import owners_of
from monolith_tf.placement.table_set import TableSet
from monolith_tf.placement.table_set import create_table
from monolith_tf.placement.table_set import live_table
from monolith_tf.placement.table_set import servers_of
from monolith_tf.step.apply import apply_row_gradients
from monolith_tf.step.arguments import rate_for
from monolith_tf.step.arguments import rows_for
from monolith_tf.step.arguments import vector_of_ids
from monolith_tf.step.backend import read_rows
from monolith_tf.step.event_time import current_event_time
from monolith_tf.step.table_variable import TableVariable

_making = threading.RLock()


class Table(trackable.Trackable):
    """A named set of rows, sharded over the servers of the open strategy.

    Every int64 is an id, and two ids never share a row. A lookup changes
    nothing; the first gradient or assignment creates a row. Layers share the
    table of a config object by `Table.get_or_create`.

    A table is trackable: `tf.train.Checkpoint(table=table)` saves its rows and
    slots, and restores them on any number of servers.

    Args:
        config: `mt.TableConfig`.

    Raises:
        TypeError: `config` is not a `TableConfig`.
        ValueError: The current table set has a table of that name.

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

    def __init__(self, config: TableConfig):
        """Makes the table on every server of its table set."""
        _check_config(config)
        with _making:
            table_set = table_set_for(config)
            if live_table(table_set, config.name) is not None:
                raise ValueError(
                    "mt.Table makes a new table, but the table of this config "
                    f"exists. Received: {config}. Share the table by "
                    "mt.Table.get_or_create(config), or make another one in a "
                    "table set of its own (`with mt.TableSet():`) or under "
                    "another name."
                )
            self._config = config
            self._table_set = table_set
            created = create_table(table_set, self)
            self._variables: dict[FeatureOverrides, TableVariable] = {}
            self.variable_for(NO_OVERRIDES)
            if table_set.graph is None:
                make_step_counter(self)
            else:
                tf1_graph.add_table(self, created)

    @classmethod
    def get_or_create(cls, config: TableConfig) -> Table:
        """Returns the live table of a config object, or makes it.

        Threads that call this at once get one table.

        Args:
            config: `mt.TableConfig`.

        Raises:
            TypeError: `config` is not a `TableConfig`.
            ValueError: The current table set has another table of that name.

        Example:
        >>> import monolith_tf as mt
        >>> config = mt.TableConfig("movie", dim=2)
        >>> table = mt.Table.get_or_create(config)
        >>> mt.Table.get_or_create(config) is table
        True
        """
        _check_config(config)
        with _making:
            found = live_table(table_set_for(config), config.name)
            return cls(config) if found is None else found

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
        """The table set that the table belongs to."""
        return self._table_set

    def variable_for(self, overrides: FeatureOverrides) -> TableVariable:
        """Implements `TableHandle`: one variable per distinct overrides."""
        if overrides not in self._variables:
            self._variables[overrides] = TableVariable(
                self,
                self._table_set.devices[0],
                _open_strategy() or self._table_set.strategy,
                overrides,
            )
        return self._variables[overrides]

    @property
    def trainable_variables(self) -> list[TableVariable]:
        """Sources for a `tf.GradientTape`, like those of a layer.

        The variable of lookups without overrides is the first. Each distinct
        combination of min_count, probability and ttl of features adds one.
        """
        return list(self._variables.values())

    def lookup(self, ids) -> tf.Tensor:
        """Reads rows; an unseen id reads its initial row and stays unseen.

        Args:
            ids: int64 `[n]`, duplicates allowed.

        Returns:
            float32 `[n, dim]`, in the order of the ids. Its gradient belongs
            to `trainable_variables`.

        Raises:
            TypeError: The ids are not integers.
            ValueError: The ids are not a vector.
            tf.errors.FailedPreconditionError: A server restarted without the
                table; the message names both.
        """
        ids = vector_of_ids(self.name, ids)
        return read_rows(self, ids)

    def lookup_with_exists(self, ids) -> tuple[tf.Tensor, tf.Tensor]:
        """Reads rows, and which ids have one.

        Args:
            ids: int64 `[n]`.

        Returns:
            `rows`, float32 `[n, dim]` and `exists`, bool `[n]`.
        """
        ids = vector_of_ids(self.name, ids)
        rows = tf.zeros([tf.shape(ids)[0], self.dim])
        exists = tf.zeros(tf.shape(ids), tf.bool)
        for device, handle, shard_ids, where in self._split(ids):
            with tf.device(device):
                shard_rows, shard_exists = ops.lookup_with_exists(
                    handle, shard_ids, table=self.name, dim=self.dim
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
        """Makes one optimizer step per distinct id.

        Args:
            ids: int64 `[n]`; gradients of equal ids are summed.
            gradients: float32 `[n, dim]`; other floats are cast.
            step: int64 scalar, the steps made before this one (Adam's bias
                correction, schedules). Default: the table's own count of these
                calls.
            event_time: int64 scalar, seconds since the epoch, 0 to 2^32 - 1.
                Default: that of `mt.event_time`, or the clock.
            learning_rate: float32 scalar for this call, for all segments.
                Default: the rates of their optimizers.
            min_count: Admission threshold for the ids of this call, an int, as
                in `mt.FeatureConfig`. Default: that of the table's
                `mt.Admission`.
            ttl_seconds: Time to live of the rows of this call, an int, as in
                `mt.FeatureConfig`. Default: that of the table's `mt.Eviction`.
            probability: In place of min_count: the probability that an
                occurrence admits its id, a float, as in `mt.FeatureConfig`.

        Raises:
            TypeError: The ids are not integers, the gradients are not floats,
                event_time, min_count or ttl_seconds is not an int, or
                probability is not a number.
            ValueError: The shapes do not fit, the table does not support
                min_count or ttl_seconds, or probability is out of range.
        """
        owner = f"apply_gradients of table {self.name!r}"
        overrides = feature_overrides.overrides_of(
            feature_overrides.checked_min_count(owner, min_count, self.config),
            feature_overrides.checked_probability(
                owner, probability, min_count
            ),
            feature_overrides.checked_ttl(owner, ttl_seconds, self.config),
            self.config,
        )
        ids = vector_of_ids(self.name, ids)
        if overrides or len(self._variables) > 1:
            # A copy: gradients of a lookup are recognized by their ids, and
            # would bring the overrides of its features.
            ids = tf.identity(ids)
        gradients = rows_for(self, "gradients", gradients, ids)
        own_count = step is None
        if own_count:
            step = step_counter(self).read_value()
        rates = None
        if learning_rate is not None:
            rate = rate_for(self.name, learning_rate)
            rates = [[rate] * len(self.config.segments)]
        apply_row_gradients(
            [self],
            [tf.IndexedSlices(gradients, ids)],
            step=step,
            overrides=[[(ids, overrides)]] if overrides else None,
            event_time=event_time,
            learning_rates=rates,
        )
        if own_count:
            step_counter(self).assign_add(1)

    def assign(self, ids, rows, *, event_time=None) -> None:
        """Sets rows. Slots do not change; those of a new row are initial.

        Admission does not apply.

        Args:
            ids: int64 `[n]`; the last row of a repeated id wins.
            rows: float32 `[n, dim]`; other floats are cast.
            event_time: int64 scalar, seconds since the epoch, 0 to 2^32 - 1.
                Default: that of `mt.event_time`, or the clock.

        Raises:
            TypeError: The ids or the time are not integers, or the rows are
                not floats.
            ValueError: The shapes do not fit.
        """
        ids = vector_of_ids(self.name, ids)
        rows = rows_for(self, "rows", rows, ids)
        for device, handle, shard_ids, where in self._split(ids):
            with tf.device(device):
                ops.assign(
                    handle,
                    shard_ids,
                    tf.gather_nd(rows, where),
                    current_event_time(event_time),
                    table=self.name,
                )

    def remove(self, ids) -> int:
        """Removes rows together with their slots; unseen ids are ignored.

        Args:
            ids: int64 `[n]`.

        Returns:
            Number of rows removed (an int64 tensor in a function).
        """
        removed = tf.constant(0, tf.int64)
        ids = vector_of_ids(self.name, ids)
        for device, handle, shard_ids, _ in self._split(ids):
            with tf.device(device):
                removed += ops.remove(handle, shard_ids, table=self.name)
        return _number(removed)

    def clear(self) -> None:
        """Removes every row."""
        for device, handle in servers_of(self._table_set):
            with tf.device(device):
                ops.clear(handle, table=self.name)

    def size(self) -> int:
        """Returns the number of rows on all servers (int64 in a function)."""
        return self._total(ops.size)

    def sweep(self, event_time=None) -> int:
        """Evicts every expired row and returns memory to the system.

        Each update sweeps a part of the table; this call sweeps the rest at
        once. Lookups and updates continue meanwhile.

        Args:
            event_time: int64 scalar, seconds since the epoch. The latest time
                that the table has seen counts, this one included. Default:
                that of `mt.event_time`, or the clock.

        Returns:
            Number of evicted rows (an int64 tensor in a function).
        """
        event_time = current_event_time(event_time)
        return self._total(
            lambda handle, table: ops.sweep(handle, event_time, table=table)
        )

    def set_clock(self, event_time) -> None:
        """Sets the latest event time that the table has seen, also backward.

        Repairs a clock that was moved too far, for instance by an event with a
        broken time while `Eviction.max_future_seconds` was 0. Expiry, windows
        of admission and sweeps then use the new time. Rows that were updated
        with later times keep these until their next update. An update that
        runs meanwhile may move the clock again.

        Args:
            event_time: int64 scalar, seconds since the epoch.

        Raises:
            TypeError: The time is not an integer.
            tf.errors.InvalidArgumentError: The time is negative, or more than
                `max_future_seconds` ahead of a server's clock.

        Example:
        >>> import monolith_tf as mt
        >>> table = mt.Table(mt.TableConfig(
        ...     "user", dim=1, eviction=mt.Eviction(ttl_seconds=60)))
        >>> table.apply_gradients([7], [[0.1]], event_time=5000)
        >>> table.set_clock(1000)
        >>> table.table_set.clocks("user")
        [(1, 1000)]
        """
        clock = tf.stack(
            [tf.constant(-1, tf.int64), current_event_time(event_time)]
        )
        for device, handle in servers_of(self._table_set):
            with tf.device(device):
                ops.set_clock(handle, clock, table=self.name)

    def stats(self) -> TableStats:
        """Returns the statistics of the table, over all servers."""
        return stats_of(self._table_set)[self.name]

    def memory_bytes(self) -> int:
        """Returns `TableStats.memory_bytes`, over all servers."""
        return self.stats().memory_bytes

    def export(
        self, batch_size: int = 65536
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads all rows, one batch at a time, while training may continue.

        Rows are the values that `lookup` returns. A row that exists throughout
        is yielded exactly once, in no particular order.

        Args:
            batch_size: The most rows of a batch.

        Yields:
            `ids`, int64 `[n]` and `rows`, float32 `[n, dim]`, n <= batch_size.

        Raises:
            ValueError: `batch_size` is below 1.
        """
        for ids, _, rows in export_rows(self, batch_size, with_slots=False):
            yield ids, rows

    def __repr__(self) -> str:
        """Names the table and its shards."""
        return (
            f"<mt.Table {self.name!r}, dim {self.dim}, "
            f"{self._table_set.num_shards} shards>"
        )

    def _trackable_children(self, save_type="checkpoint", **kwargs):
        if save_type == "savedmodel":
            raise MonolithError(
                f"Table {self.name!r} can't be part of a SavedModel of "
                "model.save or tf.saved_model.save. For serving use "
                "monolith_tf.serving.export_saved_model(model, directory). To "
                "load the model again use model.save with a path "
                "that ends in .keras."
            )
        return super()._trackable_children(save_type, **kwargs)

    def _serialize_to_tensors(self):
        if rows_elsewhere.rows_are_elsewhere():
            return rows_elsewhere.serialize(self)
        if self._table_set.graph is not None:
            return table_state.serialize(self)
        return table_state.save_specs(self)

    def _restore_from_tensors(self, restored_tensors):
        if rows_elsewhere.rows_are_elsewhere():
            return rows_elsewhere.restore(self, restored_tensors)
        return table_state.restore(
            self, restored_tensors, getattr(self, "_update_uid", None)
        )

    def _total(self, op):
        total = 0
        for device, handle in servers_of(self._table_set):
            with tf.device(device):
                total += op(handle, table=self.name)
        return _number(total)

    def _split(self, ids: tf.Tensor):
        """Yields device, handle, ids and their positions of each server."""
        owners = owners_of(ids, self._table_set.num_shards)
        for shard, (device, handle) in enumerate(servers_of(self._table_set)):
            where = tf.where(tf.equal(owners, shard))
            yield device, handle, tf.gather_nd(ids, where), where


def _check_config(config: TableConfig) -> None:
    if not isinstance(config, TableConfig):
        raise TypeError(
            "mt.Table needs an mt.TableConfig. Received: "
            f"{config!r} (of type {type(config).__name__})."
        )


def _number(total: tf.Tensor):
    return int(total) if tf.executing_eagerly() else total


def _open_strategy():
    if tf.distribute.has_strategy():
        return tf.distribute.get_strategy()
    return None
