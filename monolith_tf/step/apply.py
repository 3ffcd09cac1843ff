"""Sends the gradients of rows to the tables: one apply op per server."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from monolith_tf import ops
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.config.feature_overrides import completed
from monolith_tf.placement.registry import by_table_set
from monolith_tf.placement.registry import two_configs_message
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of
from monolith_tf.step.event_time import current_event_time
from monolith_tf.step.fused_gradients import FusedGradients
from monolith_tf.step.request_id import current_request
from monolith_tf.step.table_variable import TableVariable
from monolith_tf.step.transport import Wire


@dataclasses.dataclass(frozen=True)
class TableSlices:
    """The gradients of one table in one step, per variable of the table.

    A table has one variable for lookups without overrides and one for each
    distinct combination of overrides. The slices of all of them are one step of
    the table.

    Attributes:
        table: The table.
        gradients: Per variable its slices: values float32 `[n_v, dim]`, indices
            int64 `[n_v]`.
        variables: The variables, each once.
    """

    table: TableHandle
    gradients: list[tf.IndexedSlices]
    variables: list[TableVariable]

    @classmethod
    def group(cls, grads_and_vars: Sequence[tuple]) -> list:
        """Groups pairs of gradients and variables by table.

        Args:
            grads_and_vars: Pairs of a gradient and its variable, slices where
                the variable is that of a table. A variable that occurs twice
                makes two steps, as with any Keras optimizer.

        Returns:
            The pairs of dense variables unchanged, and one `TableSlices` in
            place of the first pair of each table.
        """
        parts: list = []
        groups: dict[tuple, TableSlices] = {}
        times: dict[int, int] = {}
        for gradient, variable in grads_and_vars:
            if not isinstance(variable, TableVariable):
                parts.append((gradient, variable))
                continue
            times[id(variable)] = times.get(id(variable), 0) + 1
            key = (id(variable.table), times[id(variable)])
            if key not in groups:
                groups[key] = cls(variable.table, [], [])
                parts.append(groups[key])
            groups[key].gradients.append(gradient)
            groups[key].variables.append(variable)
        return parts

    def together(self) -> tf.IndexedSlices:
        """Concatenates the slices: values `[n, dim]`, indices `[n]`."""
        if len(self.gradients) == 1:
            return self.gradients[0]
        return tf.IndexedSlices(
            tf.concat([part.values for part in self.gradients], axis=0),
            tf.concat([part.indices for part in self.gradients], axis=0),
            self.gradients[0].dense_shape,
        )

    def overrides(self) -> list[tuple[tf.Tensor, FeatureOverrides]] | None:
        """Returns the runs of `together` with their overrides; None for none.

        See `apply_row_gradients`.
        """
        overrides = [variable.overrides for variable in self.variables]
        if not any(overrides):
            return None
        return [
            (part.indices, one)
            for part, one in zip(
                self.gradients,
                completed(overrides, self.table.config),
                strict=True,
            )
        ]


def apply_row_gradients(
    tables: Sequence[TableHandle],
    gradients: Sequence[tf.IndexedSlices],
    *,
    step: tf.Tensor,
    overrides: Sequence[list[tuple[tf.Tensor, FeatureOverrides]] | None]
    | None = None,
    event_time: tf.Tensor | None = None,
    learning_rates: Sequence[Sequence[tf.Tensor]] | None = None,
) -> list[tf.Operation]:
    """Runs each table's optimizer once for every distinct id.

    Args:
        tables: Distinct tables.
        gradients: Per table the slices of all uses of the table in this step:
            values float32 `[n_t, dim_t]`, indices int64 `[n_t]`. Equal ids are
            summed.
        step: int64 scalar, number of steps before this one.
        overrides: Per table the runs of its slices, in order: the int64 indices
            of the run and the overrides that it brings. None for a table
            without overrides; default is None for all. If an id has several,
            the smallest min_count, else the largest probability, and the
            longest ttl apply.
        event_time: int64 scalar, seconds since the epoch; default is that of
            `mt.event_time`, or the clock.
        learning_rates: Per table float32 scalars, one per segment; default is
            the rate of each segment's optimizer at this step.

    Returns:
        The apply operations (empty when executing eagerly).
    """
    event_time = current_event_time(event_time)
    request = current_request()
    if request is not None:
        event_time = ops.with_request(event_time, *request)
    step = tf.cast(step, tf.int64)
    if learning_rates is None:
        learning_rates = [
            table.config.learning_rates_at(step) for table in tables
        ]
    applied = []
    for table_set, numbers in by_table_set(tables):
        packed, values = _gradients_by_shard(
            table_set,
            [tables[n] for n in numbers],
            [gradients[n] for n in numbers],
            [overrides[n] for n in numbers] if overrides else None,
            global_step=step + 1,
            event_time=event_time,
            learning_rates=tf.stack(
                [rate for n in numbers for rate in learning_rates[n]]
            ),
        )
        wire = Wire(table_set.wire_dtype)
        num_rates = sum(len(tables[n].config.segments) for n in numbers)
        for shard, device in enumerate(table_set.devices):
            message = wire.send(values[shard], num_exact=num_rates)
            with tf.device(device):
                applied.append(
                    ops.apply(
                        servers_of(table_set)[shard].handle,
                        packed[shard],
                        wire.receive(message, num_exact=num_rates),
                        tables=[tables[n].name for n in numbers],
                        dims=[tables[n].dim for n in numbers],
                    )
                )
    return [operation for operation in applied if operation is not None]


def check_slices(gradient, variable: TableVariable) -> None:
    """Rejects dense gradients of a table.

    Raises:
        TypeError: The gradient is not a `tf.IndexedSlices`.
    """
    if isinstance(gradient, tf.IndexedSlices):
        return
    raise TypeError(
        f"The gradient of table {variable.table.name!r} must be a "
        "tf.IndexedSlices, as a tf.GradientTape gives it. Received: "
        f"{gradient!r}. A dense gradient of a table has no rows. To accumulate "
        "gradients over batches use mt.optimizers.sum_gradients."
    )


def check_names(tables: Sequence[TableHandle]) -> None:
    """Rejects two tables of one name in a step.

    `clone_model` makes two tables of one that two layers share, and each would
    get a part of the gradients.

    Raises:
        ValueError: Two tables have the same name.
    """
    by_name = {}
    for table in tables:
        other = by_name.setdefault(table.name, table)
        if other is not table:
            raise ValueError(two_configs_message(other.config, table.config))


def _gradients_by_shard(table_set, tables, gradients, overrides, **step):
    """Sums gradients by id and splits them: the inputs of `ops.apply`."""
    fused = FusedGradients.find(gradients)
    if fused is not None:
        # Knows the overrides from the ops of the lookup.
        return fused.by_shard([table.config for table in tables], **step)
    return ops.partition_gradients(
        ids=[gradient.indices for gradient in gradients],
        gradients=[gradient.values for gradient in gradients],
        overrides=overrides and [_encoded(runs) for runs in overrides],
        num_shards=table_set.num_shards,
        **step,
    )


def _encoded(runs) -> tf.Tensor | None:
    """Encodes the overrides of each slice of a table: int64 `[n]`."""
    if runs is None:
        return None
    return tf.concat(
        [
            tf.fill(
                tf.shape(indices, tf.int64),
                tf.constant(overrides.encode(), tf.int64),
            )
            for indices, overrides in runs
        ],
        axis=0,
    )
