"""Reads rows of tables, and sends gradients back to them.

One lookup op and one apply op per server carry all tables of a set, whatever
the number of features.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util

from monolith_tf import ops
from monolith_tf.placement.registry import by_table_set
from monolith_tf.placement.table_handle import TableHandle
from monolith_tf.step import prefetch
from monolith_tf.step.backend import current_backend
from monolith_tf.step.transport import Wire


def lookup_rows(
    tables: Sequence[TableHandle], ids: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Reads rows, each tied to its table so that gradients find the way back.

    Args:
        tables: Distinct tables.
        ids: Per table int64 `[n_t]`, duplicates allowed.

    Returns:
        Per table float32 `[n_t, dim_t]`, in the order of the ids; an unseen id
        reads its initial row.
    """
    features = [ops.FeatureBatch(table_ids) for table_ids in ids]
    return lookup_features(tables, features, range(len(tables)))


def lookup_features(
    tables: Sequence[TableHandle],
    features: Sequence[ops.FeatureBatch],
    feature_tables: Sequence[int],
) -> list[tf.Tensor]:
    """Reads the rows of features and combines them.

    Args:
        tables: Distinct tables.
        features: The features; several may read one table.
        feature_tables: Which of the tables each feature reads.

    Returns:
        Per feature float32, of the shape that `ops.combine` gives, tied to its
        table so that gradients find the way back.
    """
    backend = current_backend()
    if backend is not None:
        return _lookup_in_backend(backend, tables, features, feature_tables)
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
    """Asks every server for the rows of its ids."""
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
                table_set.handles[shard],
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
    """Whether rows are read eagerly, near by, and surely without a gradient.

    Then a search for duplicates takes longer than it saves. In functions
    ops/cc/kernels/duplicates_pass.cc tells.
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
    """Makes the vectors of features out of the rows that were read."""
    tables, feature_tables = read.tables, read.feature_tables
    packed, positions = read.packed, read.positions
    shard_rows = read.shard_rows
    dims = [table.dim for table in tables]
    vectors = ops.combine(
        packed,
        shard_rows,
        positions,
        features,
        feature_tables=feature_tables,
        dims=dims,
    )
    anchors = [
        (table, feature.own_terms)
        for table, feature in zip(feature_tables, features, strict=True)
    ]
    sources = {
        (table, own_terms): tables[table].anchor_of(own_terms).gradient_source()
        for table, own_terms in dict.fromkeys(anchors)
    }
    return [
        ops.attach(sources[anchor], *feature, dim=dims[anchor[0]])
        for anchor, *feature in zip(
            anchors, vectors, positions, features, strict=True
        )
    ]


def _lookup_in_backend(
    backend, tables, features, feature_tables
) -> list[tf.Tensor]:
    """Reads by a backend, one lookup a table, and combines by stock ops."""
    valid = [ops.valid_ids(feature) for feature in features]
    wanted = []
    for feature, mask in zip(features, valid, strict=True):
        ids = tf.reshape(feature.ids, [-1])
        if mask is not None:
            ids = tf.boolean_mask(ids, tf.reshape(mask, [-1]))
        wanted.append(ids)
    vectors: list[tf.Tensor | None] = [None] * len(features)
    for number, table in enumerate(tables):
        chosen = [f for f, t in enumerate(feature_tables) if t == number]
        rows = backend.lookup(
            table, tf.concat([wanted[f] for f in chosen], axis=0)
        )
        parts = tf.split(
            rows, [tf.shape(wanted[f])[0] for f in chosen], num=len(chosen)
        )
        for f, part in zip(chosen, parts, strict=True):
            part = tf.ensure_shape(part, [None, table.dim])
            vectors[f] = ops.stock_combine(part, valid[f], features[f])
    return vectors


def _refuse_xla(tables: Sequence[TableHandle]) -> None:
    """Says what XLA would say later, and in other words."""
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
