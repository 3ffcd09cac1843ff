"""Clipping covers the rows, as it covers the rows of a Keras Embedding."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = np.array([[0, 1, 1], [2, 3, 0], [4, 4, 4]])
LABELS = np.array([3.0, -2.0, 5.0], np.float32)
CLIPS = [{"clipnorm": 0.3}, {"clipvalue": 0.2}, {"global_clipnorm": 0.25}, {}]


def train(part, clip):
    """Trains a small model for three steps; returns its dense weights."""
    inputs = tf_keras.Input([3], dtype="int64")
    hidden = tf_keras.layers.Flatten()(part(inputs))
    outputs = tf_keras.layers.Dense(1, kernel_initializer="ones")(hidden)
    model = tf_keras.Model(inputs, outputs)
    model.compile(
        mt.optimizers.with_tables(tf_keras.optimizers.SGD(0.5, **clip)), "mse"
    )
    model.fit(IDS, LABELS, batch_size=3, epochs=3, shuffle=False, verbose=0)
    return [weight.numpy() for weight in model.layers[-1].weights]


@pytest.mark.slow
@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_rows_and_weights_equal_those_of_an_embedding(clip):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=2, optimizer=mt.optimizers.SGD(0.5))
        )
    start = layer.table.lookup(np.arange(5)).numpy()
    embedding = tf_keras.layers.Embedding(
        5, 2, embeddings_initializer=tf_keras.initializers.Constant(start)
    )
    weights = train(layer, clip)
    expected = train(embedding, clip)
    rows = layer.table.lookup(np.arange(5)).numpy()
    np.testing.assert_allclose(rows, embedding.embeddings, atol=1e-6)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.abs(rows - start).max() > 1e-3


def test_clipvalue_by_hand():
    with mt.TableSet():
        table = mt.Table(
            mt.TableConfig(
                "movie",
                dim=2,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )
    optimizer = mt.optimizers.with_tables(
        tf_keras.optimizers.SGD(1.0, clipvalue=0.5)
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(table.lookup([7]) * [[3.0, 0.25]])
    optimizer.apply_gradients(
        [
            (
                tape.gradient(loss, table.trainable_variables[0]),
                table.trainable_variables[0],
            )
        ]
    )
    assert table.lookup([7]).numpy().tolist() == [[-0.5, -0.25]]


def test_global_clipnorm_takes_rows_and_weights_together_by_hand():
    with mt.TableSet():
        table = mt.Table(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )
    weight = tf.Variable([0.0])
    optimizer = mt.optimizers.with_tables(
        tf_keras.optimizers.SGD(1.0, global_clipnorm=1.0)
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(3 * table.lookup([7])) + 4 * weight[0]
    variables = [*table.trainable_variables, weight]
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables, strict=True)
    )
    # The norm is 5, so both are divided by 5.
    np.testing.assert_allclose(table.lookup([7]), [[-0.6]], rtol=1e-6)
    np.testing.assert_allclose(weight, [-0.8], rtol=1e-6)
