"""Lookups look for duplicates where a gradient, or a server, has use for it."""

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops

IDS = np.array([7, 3, 7, 7, -1, 3, 2**62], np.int64)
RATE = 0.5


def make_table(num_shards=1):
    config = mt.TableConfig(
        "ids",
        dim=2,
        optimizer=mt.optimizers.Adagrad(RATE, 0.1),
        initializer=mt.initializers.RandomUniform(-1, 1),
    )
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(config)


@pytest.fixture
def searches(executed_graphs):
    """Attributes of the MonolithPartition ops that a call runs."""

    def told(call) -> set[bool]:
        return {
            node.attr["distinct"].b
            for graph in executed_graphs(call)
            for node in graph.node
            if node.op == "MonolithPartition"
        }

    return told


def rows_of(table, ids=IDS):
    return table.lookup_with_exists(ids)[0].numpy()


def test_a_function_that_only_reads_does_not_look_for_them(searches):
    table = make_table()
    # Graphs of another call, which the next one must not see.
    step_within(table)(tf.constant(IDS))
    read = tf.function(table.lookup)
    assert searches(lambda: read(IDS)) == {False}
    np.testing.assert_array_equal(read(IDS), rows_of(table))
    np.testing.assert_array_equal(table.lookup(IDS), rows_of(table))


@pytest.mark.parametrize("num_shards", [2, 3])
def test_servers_are_asked_for_each_id_once(num_shards, searches):
    table = make_table(num_shards)
    read = tf.function(table.lookup)
    assert searches(lambda: read(IDS)) == {True}
    np.testing.assert_array_equal(read(IDS), rows_of(table))


def step_eagerly(table, read=None):
    read = read or table.lookup

    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(read(ids))
        (gradient,) = tape.gradient(loss, table.trainable_variables)
        table.apply_gradients(gradient.indices, gradient.values)

    return step


def step_within(table):
    return tf.function(step_eagerly(table))


def step_around(table):
    return step_eagerly(table, read=tf.function(table.lookup))


def step_in_a_branch(table):
    def read(ids):
        return tf.cond(
            tf.size(ids) > 0,
            lambda: table.lookup(ids),
            lambda: tf.zeros([0, table.dim]),
        )

    return tf.function(step_eagerly(table, read))


@pytest.mark.parametrize(
    "make_step", [step_within, step_around, step_in_a_branch, step_eagerly]
)
def test_a_step_makes_one_update_of_each_distinct_id(make_step):
    """Adagrad tells one update by a sum from several by its parts."""
    table = make_table()
    before = rows_of(table)
    make_step(table)(tf.constant(IDS))
    counts = np.array([(IDS == i).sum() for i in IDS], np.float32)[:, None]
    step = RATE * counts / np.sqrt(0.1 + counts**2)
    np.testing.assert_allclose(rows_of(table), before - step, rtol=1e-5)


def test_a_step_in_a_function_looks_for_them(searches):
    table = make_table()
    step = step_within(table)
    assert searches(lambda: step(tf.constant(IDS))) == {True}


def test_gradients_of_a_batch_of_any_length_are_summed_by_one_op():
    """Checks of their shape would hide that a lookup made them."""
    table = make_table()
    step = step_within(table)
    spec = tf.TensorSpec([None], tf.int64)
    names = {
        node.op
        for node in step.get_concrete_function(spec).graph.as_graph_def().node
    }
    assert "MonolithCombineGradients" in names
    assert "MonolithPartitionGradients" not in names


@pytest.mark.parametrize("size", [0, 1, 5])
def test_vectors_of_distinct_ids_are_the_rows_as_they_came(size):
    ids = tf.reshape(tf.range(size, dtype=tf.int64), [-1, 1])
    feature = ops.FeatureBatch(ids)
    for distinct in (True, False):
        packed, positions = ops.partition(
            [feature], num_shards=1, distinct=distinct
        )
        rows = tf.random.normal([size * 3])
        (vectors,) = ops.combine(packed, [rows], positions, [feature], dims=[3])
        np.testing.assert_array_equal(vectors, tf.reshape(rows, [size, 1, 3]))


def test_padding_is_not_asked_for_without_the_search_either():
    ids = tf.constant([[5, 0, 5], [0, 9, 5]], tf.int64)
    feature = ops.FeatureBatch(ids, combiner="sum", padding_id=0)
    packed, positions = ops.partition([feature], num_shards=1, distinct=False)
    np.testing.assert_array_equal(packed[0], [4, 5, 5, 9, 5])
    np.testing.assert_array_equal(positions[0], [[0, -1, 1], [-1, 2, 3]])
    rows = tf.constant([1.0, 2.0, 3.0, 4.0])
    (vectors,) = ops.combine(packed, [rows], positions, [feature], dims=[1])
    np.testing.assert_array_equal(vectors, [[3.0], [7.0]])


def test_many_rows_are_written_past_the_caches_alike():
    table = mt.Table(mt.TableConfig("wide", dim=16))
    ids = np.arange(60_000, dtype=np.int64)
    rows = np.random.default_rng(1).normal(size=[60_000, 16])
    table.assign(ids[::2], rows[::2].astype(np.float32))
    read = table.lookup(ids).numpy()
    np.testing.assert_array_equal(read[::2], rows[::2].astype(np.float32))
    some = np.random.default_rng(2).choice(60_000, 1000, replace=False)
    np.testing.assert_array_equal(read[some], table.lookup(some))
