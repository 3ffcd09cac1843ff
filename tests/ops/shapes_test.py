"""Every op refuses wrong ranks when the graph is built."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
import tensorflow as tf

from monolith_tf import ops
from monolith_tf.ops import FeatureBatch
from monolith_tf.ops.library import library


@contextlib.contextmanager
def graph_with_handle():
    with tf.Graph().as_default():
        yield ops.table_set_handle("shapes")


def ids(*shape):
    return tf.compat.v1.placeholder(tf.int64, shape)


def floats(*shape):
    return tf.compat.v1.placeholder(tf.float32, shape)


def combined(
    shard_rows=None, *, packed=None, feature=None, feature_tables=None
):
    return ops.combine(
        packed or [ids(3)],
        shard_rows or [floats(8)],
        [ids(2)],
        [feature or FeatureBatch(ids(2))],
        feature_tables=feature_tables,
        dims=[4],
    )


def combined_gradients(gradient, tables, dims):
    return ops.combine_gradients(
        global_step=ids(),
        event_time=ids(),
        learning_rates=floats(1),
        packed=[ids(None)],
        gradients=[gradient],
        positions=[ids(2)],
        features=[FeatureBatch(ids(2))],
        feature_tables=[0],
        num_tables=2,
        tables=tables,
        dims=dims,
    )


def combined_with_overrides(overrides):
    return library.monolith_combine_gradients(
        ids(),
        ids(),
        floats(1),
        [ids(None)],
        [floats(2, 4)],
        [ids(2)],
        [],
        [],
        feature_tables=[0],
        num_tables=1,
        weighted=[False],
        gradient_of=[0],
        first_columns=[-1],
        tables=[0],
        dims=[4],
        overrides=overrides,
        combiners=["none"],
        ns=[0],
        ragged=[False],
    )


def filled(feature_ids, splits=None, weights=None, combiner="sum"):
    """Shapes of a feature with a default id."""
    (found,) = ops.fill_missing(
        [FeatureBatch(feature_ids, splits, weights, combiner, default_id=7)]
    )
    return found


def partitioned(overrides, tables):
    return library.monolith_partition_gradients(
        ids(),
        ids(),
        floats(1),
        [ids(3)],
        [floats(3, 4)],
        overrides,
        num_shards=1,
        override_tables=tables,
    )


WRONG = {
    "lookup of a matrix": lambda h: ops.lookup(
        h, ids(2, 2), tables=["t"], dims=[4]
    ),
    "lookup with a dim too few": lambda h: ops.lookup(
        h, ids(2), tables=["t", "u"], dims=[4]
    ),
    "lookup with dim 0": lambda h: ops.lookup(
        h, ids(2), tables=["t"], dims=[0]
    ),
    "lookup with exists of a matrix": lambda h: ops.lookup_with_exists(
        h, ids(2, 2), table="t", dim=4
    ),
    "apply of a matrix": lambda h: ops.apply(
        h, ids(2, 2), floats(5), tables=["t"], dims=[4]
    ),
    "apply of a matrix of values": lambda h: ops.apply(
        h, ids(5), floats(2, 2), tables=["t"], dims=[4]
    ),
    "assign of another number of rows": lambda h: ops.assign(
        h, ids(3), floats(2, 4), ids(), table="t"
    ),
    "assign at a vector of times": lambda h: ops.assign(
        h, ids(3), floats(3, 4), ids(3), table="t"
    ),
    "pretrained rows of another number": lambda h: ops.set_pretrained(
        h, ids(3), floats(2, 4), table="t", segment=0
    ),
    "sweep at a vector of times": lambda h: ops.sweep(h, ids(2), table="t"),
    "import of a matrix of filter words": lambda h: ops.import_filter(
        h, ids(2, 2), table="t", group=0
    ),
    "remove of a matrix": lambda h: ops.remove(h, ids(2, 2), table="t"),
    "export with a vector cursor": lambda h: ops.export_chunk(
        h, ids(1), table="t", max_rows=1
    ),
    "import of one column": lambda h: ops.import_rows(
        h, ids(3, 1), floats(3, 4), table="t"
    ),
    "import of another number of rows": lambda h: ops.import_rows(
        h, ids(3, 2), floats(2, 4), table="t"
    ),
    "take_delta with a vector cut": lambda h: ops.take_delta(
        h, ids(1), tables=["t"], dims=[4]
    ),
    "gradients of another number of ids": lambda h: ops.partition_gradients(
        global_step=ids(),
        event_time=ids(),
        learning_rates=floats(1),
        ids=[ids(3)],
        gradients=[floats(2, 4)],
        num_shards=1,
    ),
    "overrides of another number of ids": lambda h: partitioned(
        [ids(2)], tables=[0]
    ),
    "overrides of a table that is not there": lambda h: partitioned(
        [ids(3)], tables=[1]
    ),
    "overrides of a negative table": lambda h: partitioned(
        [ids(3)], tables=[-1]
    ),
    "overrides of a table twice": lambda h: partitioned(
        [ids(3), ids(3)], tables=[0, 0]
    ),
    "overrides of tables that are not named": lambda h: partitioned(
        [ids(3)], tables=[]
    ),
    "overrides of too many features": lambda h: combined_with_overrides([2, 2]),
    "learning rates that are a matrix": lambda h: ops.partition_gradients(
        global_step=ids(),
        event_time=ids(),
        learning_rates=floats(1, 1),
        ids=[ids(3)],
        gradients=[floats(3, 4)],
        num_shards=1,
    ),
    "partition of scalar ids": lambda h: ops.partition(
        [FeatureBatch(ids())], num_shards=1
    ),
    "partition of a matrix with row splits": lambda h: ops.partition(
        [FeatureBatch(ids(2, 2), ids(3))], num_shards=1
    ),
    "partition with a matrix of row splits": lambda h: ops.partition(
        [FeatureBatch(ids(2), ids(3, 1))], num_shards=1
    ),
    "partition with an unknown combiner": lambda h: ops.partition(
        [FeatureBatch(ids(2), combiner="max")], num_shards=1
    ),
    "partition with first_n of 0": lambda h: ops.partition(
        [FeatureBatch(ids(2), combiner="first_n")], num_shards=1
    ),
    "partition with n for a sum": lambda h: ops.partition(
        [FeatureBatch(ids(2), combiner="sum", max_sequence_length=3)],
        num_shards=1,
    ),
    "partition with a table below 0": lambda h: ops.partition(
        [FeatureBatch(ids(2)), FeatureBatch(ids(2))],
        feature_tables=[0, -1],
        num_shards=1,
    ),
    "default ids of scalar ids": lambda h: filled(ids()),
    "default ids of a matrix with row splits": lambda h: filled(
        ids(2, 2), ids(3)
    ),
    "default ids with a matrix of row splits": lambda h: filled(
        ids(2), ids(3, 1)
    ),
    "default ids with weights of another shape": lambda h: filled(
        ids(2, 2), None, floats(2, 3)
    ),
    "combine with a matrix of rows": lambda h: combined([floats(2, 4)]),
    "combine with a matrix of packed ids": lambda h: combined(
        packed=[ids(3, 1)]
    ),
    "combine with weights of another shape": lambda h: combined(
        feature=FeatureBatch(ids(2), None, floats(3))
    ),
    "combine with a table without a dim": lambda h: combined(
        feature_tables=[1]
    ),
    "slices of a gradient of another shape": lambda h: ops.slices(
        floats(3, 4), ids(2), FeatureBatch(ids(2)), dim=4
    ),
    "slices of a gradient of another dim": lambda h: ops.slices(
        floats(2, 5), ids(2), FeatureBatch(ids(2)), dim=4
    ),
    "slices with positions of another shape": lambda h: ops.slices(
        floats(2, 4), ids(3), FeatureBatch(ids(2)), dim=4
    ),
    "combined gradients of another shape": lambda h: combined_gradients(
        floats(3, 4), [0], [4]
    ),
    "combined gradients of another dim": lambda h: combined_gradients(
        floats(2, 5), [0], [4]
    ),
    "combined gradients of too few columns": lambda h: combined_gradients(
        ops.Columns(floats(2, 5), 2), [0], [4]
    ),
    "combined gradients of columns of another batch": (
        lambda h: combined_gradients(ops.Columns(floats(3, 8), 2), [0], [4])
    ),
    "combined gradients of a table left out": lambda h: combined_gradients(
        floats(2, 4), [1], [4]
    ),
    "combined gradients with a dim too many": lambda h: combined_gradients(
        floats(2, 4), [0], [4, 4]
    ),
    "splits of indices of three columns": (
        lambda h: library.monolith_sparse_splits([ids(5, 3)], [ids(2)])
    ),
    "splits of a shape of three dimensions": (
        lambda h: library.monolith_sparse_splits([ids(5, 2)], [ids(3)])
    ),
    "weights beside splits of another length": (
        lambda h: ops.checked_weights(floats(5), ids(3), ids(4))
    ),
    "attach of vectors of another dim": lambda h: ops.attach(
        floats(0, 4), floats(3, 5), ids(3), FeatureBatch(ids(3)), dim=5
    ),
    "attach of vectors of another dim than is said": lambda h: ops.attach(
        floats(0, 4), floats(3, 4), ids(3), FeatureBatch(ids(3)), dim=5
    ),
    "attach of another number of vectors": lambda h: ops.attach(
        floats(0, 4), floats(3, 4), ids(2), FeatureBatch(ids(2)), dim=4
    ),
    "attach with positions of another shape": lambda h: ops.attach(
        floats(0, 4), floats(3, 4), ids(2), FeatureBatch(ids(3)), dim=4
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_shape_is_refused_when_the_graph_is_built(name):
    with graph_with_handle() as handle:
        with pytest.raises(ValueError):
            WRONG[name](handle)


def test_output_shapes_are_as_known_as_they_can_be():
    with graph_with_handle() as handle:
        rows, exists = ops.lookup_with_exists(handle, ids(7), table="t", dim=4)
        assert rows.shape == [7, 4]
        assert exists.shape == [7]
        assert ops.size(handle, table="t").shape == []
        assert ops.remove(handle, ids(3), table="t").shape == []
        keys, group_rows = ops.export_groups(
            handle, table="t", first_group=0, num_groups=2
        )
        assert [key.shape.as_list() for key in keys] == [[None, 2]] * 2
        assert [row.shape.rank for row in group_rows] == [2, 2]
        taken = ops.take_delta(handle, ids(), tables=["t"], dims=[4])
        assert taken.rows[0].shape.as_list() == [None, 4]


OUTPUTS = {
    "none": (FeatureBatch(None), [5, 6], [5, 6, 4]),
    "sum of a vector": (FeatureBatch(None, combiner="sum"), [5], [5, 4]),
    "mean": (FeatureBatch(None, combiner="mean"), [None, 3, 6], [None, 3, 4]),
    "first_n": (
        FeatureBatch(None, combiner="first_n", max_sequence_length=2),
        [5, 6],
        [5, 2, 4],
    ),
    "ragged": (FeatureBatch(None, True), [None], [None, 4]),
    "ragged sum": (FeatureBatch(None, True, combiner="sum"), [7], [8, 4]),
    "ragged first_n": (
        FeatureBatch(None, True, combiner="first_n", max_sequence_length=2),
        [7],
        [8, 2, 4],
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_shapes_of_vectors_are_as_known_as_they_can_be(name):
    feature, shape, expected = OUTPUTS[name]
    with graph_with_handle():
        feature = dataclasses.replace(
            feature,
            ids=ids(*shape),
            splits=None if feature.splits is None else ids(9),
        )
        packed, positions = ops.partition([feature], num_shards=3)
        assert len(packed) == 3
        assert positions[0].shape.as_list() == shape
        (vectors,) = ops.combine(
            packed, [floats(None)] * 3, positions, [feature], dims=[4]
        )
        assert vectors.shape.as_list() == expected
        attached = ops.attach(
            floats(0, 4), vectors, positions[0], feature, dim=4
        )
        assert attached.shape.as_list() == expected
        values, indices = ops.slices(vectors, positions[0], feature, dim=4)
        assert values.shape.as_list() == [None, 4]
        assert indices.shape.as_list() == [None]


def test_ids_of_unknown_rank_give_vectors_of_unknown_rank():
    with graph_with_handle():
        feature = FeatureBatch(tf.compat.v1.placeholder(tf.int64))
        packed, positions = ops.partition([feature], num_shards=1)
        (vectors,) = ops.combine(
            packed, [floats(None)], positions, [feature], dims=[4]
        )
        assert vectors.shape.rank is None


def test_lookup_is_stateful():
    with graph_with_handle() as handle:
        rows = ops.lookup(handle, ids(3), tables=["t"], dims=[4])
        assert rows.op.op_def.is_stateful


@pytest.mark.parametrize(
    ("shape", "combiner", "expected"),
    [
        ([None], "sum", [None]),
        ([3, 4], "sum", [3, 4]),
        ([3, 0], "sum", [3, 1]),
        ([3, None], "sum", [3, None]),
        ([3, 0], None, [3, 0]),
        (None, "sum", None),
    ],
)
def test_shapes_of_filled_ids_are_known_where_they_can_be(
    shape, combiner, expected
):
    with graph_with_handle():
        weights = tf.compat.v1.placeholder(tf.float32, shape)
        found = filled(
            tf.compat.v1.placeholder(tf.int64, shape), None, weights, combiner
        )
    for tensor in (found.ids, found.weights):
        known = tensor.shape.as_list() if tensor.shape.rank else None
        assert known == expected


def test_shapes_of_filled_lists_are_known_but_for_how_many_ids():
    with graph_with_handle():
        found = filled(ids(5), ids(3))
        alone = filled(ids(5), ids(3), combiner=None)
    assert found.ids.shape.as_list() == [None]
    assert found.splits.shape.as_list() == [3]
    assert alone.ids.shape.as_list() == [5]
