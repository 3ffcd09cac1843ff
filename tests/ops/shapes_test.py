"""Every op refuses wrong ranks when the graph is built."""

from __future__ import annotations

import contextlib

import pytest
import tensorflow as tf

from monolith_tf import ops


@contextlib.contextmanager
def graph_with_handle():
    with tf.Graph().as_default():
        yield ops.table_set_handle("shapes")


def ids(*shape):
    return tf.compat.v1.placeholder(tf.int64, shape)


def floats(*shape):
    return tf.compat.v1.placeholder(tf.float32, shape)


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
    "partition of a matrix": lambda h: ops.partition([ids(2, 2)], num_shards=1),
    "gather with a matrix of positions": lambda h: ops.gather_rows(
        [ids(3)], [floats(8)], [ids(2, 2)], dims=[4]
    ),
    "gradients of another number of ids": lambda h: ops.partition_gradients(
        global_step=ids(),
        event_time=ids(),
        learning_rates=floats(1),
        ids=[ids(3)],
        gradients=[floats(2, 4)],
        num_shards=1,
    ),
    "learning rates of another number of tables": (
        lambda h: ops.partition_gradients(
            global_step=ids(),
            event_time=ids(),
            learning_rates=floats(2),
            ids=[ids(3)],
            gradients=[floats(3, 4)],
            num_shards=1,
        )
    ),
    "attach of rows of another dim": lambda h: ops.attach(
        floats(0, 4), floats(3, 5), ids(3)
    ),
    "attach of another number of rows": lambda h: ops.attach(
        floats(0, 4), floats(3, 4), ids(2)
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
        packed, positions = ops.partition([ids(5), ids(6)], num_shards=3)
        assert len(packed) == 3
        assert [p.shape.as_list() for p in positions] == [[5], [6]]
        gathered = ops.gather_rows(
            packed, [floats(None)] * 3, positions, dims=[4, 8]
        )
        assert [g.shape.as_list() for g in gathered] == [[5, 4], [6, 8]]
        assert ops.attach(floats(0, 4), floats(None, 4), ids(3)).shape == [3, 4]
        taken = ops.take_delta(handle, ids(), tables=["t"], dims=[4])
        assert taken.rows[0].shape.as_list() == [None, 4]


def test_lookup_is_stateful():
    with graph_with_handle() as handle:
        rows = ops.lookup(handle, ids(3), tables=["t"], dims=[4])
        assert rows.op.op_def.is_stateful
