"""Reads rows of the training tables.

One lookup op per server carries all tables of a set, for any number of
features.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util

from monolith_tf import ops
from monolith_tf.placement.registry import by_table_set
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.placement.table_set import servers_of
from monolith_tf.step import prefetch
from monolith_tf.step.transport import Wire


class TableOps:
    """Reads the training tables by the ops of this library.

    The default `LookupBackend`; see `monolith_tf.step.backend`.
    """

    fill_missing = staticmethod(ops.fill_missing)
    sparse_splits = staticmethod(ops.sparse_splits)
    checked_weights = staticmethod(ops.checked_weights)

    @staticmethod
    def read_features(
        tables: Sequence[TableHandle],
        features: Sequence[ops.FeatureBatch],
        feature_tables: Sequence[int],
    ) -> list[tf.Tensor]:
        """Reads the rows of features and combines them.

        Args:
            tables: Distinct tables.
            features: The features; several may read one table.
            feature_tables: Per feature the position of its table in `tables`.

        Returns:
            Per feature float32, of the shape that `ops.combine` gives. Its
            gradient goes to the variable of the feature's table.
        """
        _refuse_xla(tables)
        vectors: list[tf.Tensor | None] = [None] * len(features)
        for table_set, numbers in by_table_set(tables):
            chosen = [f for f, t in enumerate(feature_tables) if t in numbers]
            read = _lookup_in_set(
                table_set,
                [tables[number] for number in numbers],
                [features[f] for f in chosen],
                [numbers.index(feature_tables[f]) for f in chosen],
            )
            for f, feature_vectors in zip(chosen, read, strict=True):
                vectors[f] = feature_vectors
        return vectors


def _lookup_in_set(
    table_set, tables, features, feature_tables
) -> list[tf.Tensor]:
    asked = (table_set, tables, features, feature_tables)
    read = prefetch.take(*asked)
    checks = prefetch.checked(read, features) if read is not None else []
    if read is None:
        read = _send_read(*asked)
        prefetch.note(read)
    with tf.control_dependencies(checks):
        return _combine(read, features)


def _send_read(table_set, tables, features, feature_tables):
    """Sends one lookup to each server."""
    packed, positions = ops.partition(
        features,
        feature_tables=feature_tables,
        num_shards=table_set.num_shards,
        distinct=not _only_reads(table_set),
    )
    wire = Wire(table_set.wire_dtype)
    shard_rows = []
    for shard, device in enumerate(table_set.devices):
        with tf.device(device):
            rows = ops.lookup(
                servers_of(table_set)[shard].handle,
                packed[shard],
                tables=[table.name for table in tables],
                dims=[table.dim for table in tables],
            )
            message = wire.send(rows)
        shard_rows.append(wire.receive(message))
    return prefetch.RowRead(
        table_set,
        tables,
        features,
        feature_tables,
        packed,
        positions,
        shard_rows,
    )


def _only_reads(table_set) -> bool:
    """Returns True for an eager lookup in this process without a gradient.

    There the search for duplicates costs more than it saves. In functions
    ops/cc/kernels/duplicates_pass.cc finds such lookups.
    """
    return (
        tf.executing_eagerly()
        and not record.could_possibly_record()
        and not prefetch.is_recording()
        and table_set.num_shards == 1
        and "/job:localhost/" in table_set.devices[0]
    )


def _combine(
    read: prefetch.RowRead, features: list[ops.FeatureBatch]
) -> list[tf.Tensor]:
    """Combines rows to vectors and ties them to the variables of tables."""
    tables, feature_tables = read.tables, read.feature_tables
    dims = [table.dim for table in tables]
    vectors = ops.combine(
        read.packed,
        read.shard_rows,
        read.positions,
        features,
        feature_tables=feature_tables,
        dims=dims,
    )
    keys = [
        (table, feature.overrides)
        for table, feature in zip(feature_tables, features, strict=True)
    ]
    sources = {
        key: tables[key[0]].variable_for(key[1]).gradient_source()
        for key in dict.fromkeys(keys)
    }
    return [
        ops.attach(sources[key], *feature, dim=dims[key[0]])
        for key, *feature in zip(
            keys, vectors, read.positions, features, strict=True
        )
    ]


def _refuse_xla(tables: Sequence[TableHandle]) -> None:
    """Refuses XLA before TensorFlow does, with the fix."""
    if tf.executing_eagerly():
        return
    if control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    ):
        raise ValueError(
            f"Table {tables[0].name!r} can't be read in a function that XLA "
            "compiles. Leave jit_compile=True out of model.compile or "
            "tf.function; parts of the model without tables may keep it."
        )
