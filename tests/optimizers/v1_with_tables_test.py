"""Optimizers of tf.compat.v1 with tables, in a graph without an Estimator."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt

v1 = tf.compat.v1


def table_config(optimizer):
    return mt.TableConfig(
        "movie", 1, optimizer=optimizer, initializer=mt.initializers.Zeros()
    )


def rows_after(optimizer, steps, global_step):
    """Rows of ids 7 and 8 after steps of gradients 2 (twice 1) and 1."""
    with tf.Graph().as_default() as graph:
        layer = mt.layers.DynamicEmbedding(table_config(optimizer))
        rows = layer(tf.constant([7, 7, 8], tf.int64))
        step = v1.train.get_or_create_global_step() if global_step else None
        train = mt.optimizers.with_tables(
            v1.train.GradientDescentOptimizer(1.0)
        ).minimize(tf.reduce_sum(rows), global_step=step)
        after = layer(tf.constant([7, 8], tf.int64))
        initialize = v1.global_variables_initializer()
        with v1.Session(graph=graph) as session:
            session.run(initialize)
            for _ in range(steps):
                session.run(train)
            if global_step:
                assert session.run(step) == steps
            return session.run(after)[:, 0]


@pytest.mark.parametrize("global_step", [True, False])
def test_uses_of_an_id_are_one_step(global_step):
    found = rows_after(mt.optimizers.SGD(0.5), 1, global_step)
    assert found.tolist() == [-1.0, -0.5]


def test_the_global_step_corrects_the_bias_of_adam():
    found = rows_after(mt.optimizers.Adam(0.25), 3, True)
    variable = tf.Variable([0.0])
    with mt.TableSet():
        table = mt.Table(table_config(mt.optimizers.Adam(0.25)))
    for step in range(3):
        table.apply_gradients([7], [[2.0]], step=step)
    np.testing.assert_allclose(found[0], table.lookup([7]).numpy()[0, 0])
    assert found[0] != variable.numpy()[0]


def test_dense_variables_and_rows_are_updated_together():
    with tf.Graph().as_default() as graph:
        layer = mt.layers.DynamicEmbedding(table_config(mt.optimizers.SGD(1.0)))
        kernel = v1.get_variable(
            "kernel", [], initializer=v1.ones_initializer()
        )
        rows = layer(tf.constant([7], tf.int64))
        optimizer = mt.optimizers.with_tables(
            v1.train.MomentumOptimizer(1, 0.9)
        )
        step = v1.train.get_or_create_global_step()
        train = optimizer.minimize(
            tf.reduce_sum(rows) + 2.0 * kernel, global_step=step
        )
        assert optimizer.get_slot_names() == ["momentum"]
        initialize = v1.global_variables_initializer()
        with v1.Session(graph=graph) as session:
            session.run(initialize)
            session.run(train)
            assert session.run([kernel, step]) == [-1.0, 1]
            assert session.run(rows).tolist() == [[-1.0]]


def test_a_plain_optimizer_says_how_to_wrap_it():
    with tf.Graph().as_default():
        layer = mt.layers.DynamicEmbedding(table_config(mt.optimizers.SGD(1.0)))
        loss = tf.reduce_sum(layer(tf.constant([7], tf.int64)))
        with pytest.raises(mt.MonolithError, match="with_tables"):
            v1.train.GradientDescentOptimizer(1.0).minimize(loss)


def test_synchronous_replicas_are_refused():
    optimizer = v1.train.SyncReplicasOptimizer(
        v1.train.GradientDescentOptimizer(1.0), 2
    )
    with pytest.raises(TypeError, match="asynchronously"):
        mt.optimizers.with_tables(optimizer)
