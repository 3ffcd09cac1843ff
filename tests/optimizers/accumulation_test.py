"""Gradients of several batches become one step."""

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt

BATCHES = [[1, 2], [2, 3, 3], [2]]


def make_table():
    with mt.TableSet():
        return mt.Table(
            mt.TableConfig(
                "movie", dim=2, optimizer=mt.optimizers.Adagrad(0.5), seed=1
            )
        )


def gradients_of(table, weight, ids):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table.lookup(ids) ** 2) * weight
    return tape.gradient(loss, [*table.trainable_variables, weight])


@pytest.mark.parametrize("in_function", [False, True])
def test_summed_gradients_are_the_step_of_one_large_batch(in_function):
    table, twin = make_table(), make_table()
    weight, twin_weight = tf.Variable(1.0), tf.Variable(1.0)
    optimizer = mt.optimizers.with_tables("sgd")

    def accumulated():
        parts = [gradients_of(table, weight, ids) for ids in BATCHES]
        variables = [*table.trainable_variables, weight]
        sums = map(mt.optimizers.sum_gradients, zip(*parts, strict=True))
        optimizer.apply_gradients(zip(sums, variables, strict=True))

    (tf.function(accumulated) if in_function else accumulated)()
    mt.optimizers.with_tables("sgd").apply_gradients(
        zip(
            gradients_of(twin, twin_weight, sum(BATCHES, [])),
            [*twin.trainable_variables, twin_weight],
            strict=True,
        )
    )
    np.testing.assert_allclose(
        table.lookup([1, 2, 3]), twin.lookup([1, 2, 3]), rtol=1e-6
    )
    np.testing.assert_allclose(weight, twin_weight, rtol=1e-6)
    assert optimizer.iterations.numpy() == 1
    assert table.size() == 3


def test_sum_gradients_of_tensors_none_and_slices_by_hand():
    slices = [
        tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([7], tf.int64)),
        None,
        tf.IndexedSlices(tf.constant([[2.0]]), tf.constant([7], tf.int64)),
    ]
    total = mt.optimizers.sum_gradients(slices)
    assert total.indices.numpy().tolist() == [7, 7]
    assert total.values.numpy().tolist() == [[1], [2]]
    dense = mt.optimizers.sum_gradients(
        [tf.constant([1.0]), tf.constant([2.0])]
    )
    assert dense.numpy().tolist() == [3]
    assert mt.optimizers.sum_gradients([None, None]) is None


def test_a_gradient_made_dense_is_refused_with_the_way_to_go():
    table = make_table()
    optimizer = mt.optimizers.with_tables("sgd")
    accumulator = tf.zeros([0, 2])
    with pytest.raises(TypeError, match="mt.optimizers.sum_gradients"):
        optimizer.apply_gradients([(accumulator, table.trainable_variables[0])])


def test_adding_gradients_as_arrays_is_refused_in_a_function():
    table, weight = make_table(), tf.Variable(1.0)
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step():
        first, _ = gradients_of(table, weight, [1])
        second, _ = gradients_of(table, weight, [2])
        total = tf.convert_to_tensor(first) + tf.convert_to_tensor(second)
        optimizer.apply_gradients([(total, table.trainable_variables[0])])

    with pytest.raises(TypeError, match="mt.optimizers.sum_gradients"):
        step()
    assert table.size() == 0


def test_adding_gradients_as_arrays_fails_eagerly():
    table, weight = make_table(), tf.Variable(1.0)
    gradient, _ = gradients_of(table, weight, [1])
    # TensorFlow's own words: there is no row 1 in a variable of no rows.
    with pytest.raises(tf.errors.InvalidArgumentError, match="out of range"):
        tf.convert_to_tensor(gradient)
