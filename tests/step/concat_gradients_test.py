"""Gradients of concatenated vectors are read where they are, not split."""

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.step.fused_gradients import columns_of

BATCH = 5


def make_layer(dims, **feature):
    with mt.TableSet():
        return mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(
                    f"{number:02}",
                    mt.TableConfig(
                        f"table_{number}", dim, optimizer=mt.optimizers.SGD(1.0)
                    ),
                    **feature,
                )
                for number, dim in enumerate(dims)
            ]
        )


def step_of(layer, join):
    """A function that makes one step, and whether gradients were columns.

    Returns:
        The function of ids and a dense input, and a list that gets one entry
        per feature when the function is traced.
    """
    optimizer = mt.optimizers.with_tables("sgd")
    found = []

    @tf.function(reduce_retracing=True)
    def step(ids, extra):
        with tf.GradientTape() as tape:
            vectors = list(layer(ids).values())
            joined = join(vectors, extra)
            width = tf.shape(joined)[-1]
            # The gradient of each column is another.
            loss = tf.reduce_sum(joined * tf.cast(tf.range(width), tf.float32))
        variables = layer.trainable_variables
        gradients = tape.gradient(loss, variables)
        for gradient in gradients:
            found.append(columns_of(gradient.values.op.inputs[0]))
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return step, found


def last(vectors, extra):
    return tf.concat([extra, *vectors], axis=-1)


def counted(vectors, extra):
    return tf.concat([*vectors[:2], extra, *vectors[2:]], axis=1)


# TensorFlow splits up to 16 pieces in another way than more.
@pytest.mark.parametrize("num_features", [2, 20])
@pytest.mark.parametrize("join", [last, counted])
def test_a_step_reads_columns_of_the_gradient(num_features, join):
    dims = [3 + number % 2 for number in range(num_features)]
    layer = make_layer(dims)
    ids = {f"{f:02}": tf.range(BATCH, dtype=tf.int64) for f in range(len(dims))}
    before = layer(ids)
    step, found = step_of(layer, join)
    step(ids, tf.zeros([BATCH, 2]))
    after = layer(ids)
    assert None not in found
    first = 2 if join is last else 0
    for number, (dim, table) in enumerate(zip(dims, ids, strict=True)):
        if join is counted and number == 2:
            first += 2
        np.testing.assert_allclose(
            before[table] - after[table],
            np.broadcast_to(np.arange(first, first + dim), [BATCH, dim]),
            rtol=1e-5,
        )
        first += dim


@pytest.mark.slow
def test_columns_are_found_when_the_batch_is_of_any_size():
    layer = make_layer([2] * 20)
    step, found = step_of(layer, last)
    for size in (3, 4, 5):
        ids = {f"{f:02}": tf.range(size, dtype=tf.int64) for f in range(20)}
        step(ids, tf.zeros([size, 1]))
    assert len(found) > 20
    assert None not in found


@pytest.mark.slow
@pytest.mark.parametrize("num_features", [2, 20])
def test_first_n_vectors_are_columns_too(num_features):
    layer = make_layer(
        [2] * num_features, combiner="first_n", max_sequence_length=2
    )
    ids = {
        f"{f:02}": tf.constant([[1, 2, 3], [4, 5, 6]], tf.int64)
        for f in range(num_features)
    }
    before = layer(ids)
    step, found = step_of(layer, last)
    step(ids, tf.zeros([2, 2, 1]))
    after = layer(ids)
    assert None not in found
    for number, name in enumerate(ids):
        first = 1 + 2 * number
        np.testing.assert_allclose(
            before[name] - after[name],
            np.broadcast_to([first, first + 1], [2, 2, 2]),
            rtol=1e-5,
        )


@pytest.mark.parametrize("num_features", [2, 20])
def test_a_concatenation_of_examples_is_left_alone(num_features):
    layer = make_layer([2] * num_features)
    ids = {f"{f:02}": tf.constant([1], tf.int64) for f in range(num_features)}
    before = layer(ids)
    step, found = step_of(layer, lambda vectors, _: tf.concat(vectors, axis=0))
    step(ids, tf.zeros([1, 1]))
    after = layer(ids)
    assert set(found) == {None}
    for name in ids:
        np.testing.assert_allclose(
            before[name] - after[name], [[0.0, 1.0]], rtol=1e-5, atol=1e-7
        )


def test_a_slice_that_is_no_piece_is_left_alone():
    @tf.function
    def function(x):
        piece = tf.slice(x, [0, 1], [-1, 2])
        assert columns_of(piece) is None
        assert columns_of(tf.split(x, [1, 3], axis=1)[1]) is None
        assert columns_of(x + 1) is None
        return piece

    function(tf.zeros([3, 4]))
