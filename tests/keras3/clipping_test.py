"""Clipping covers the rows, as it covers the rows of an Embedding of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt

IDS = np.array([[0, 1, 1], [2, 3, 0], [4, 4, 4]])
LABELS = np.array([3.0, -2.0, 5.0], np.float32)
CLIPS = [{"clipnorm": 0.3}, {"clipvalue": 0.2}, {"global_clipnorm": 0.25}, {}]


def train(part, clip, **kwargs):
    """Trains a small model for three steps; returns its dense weights."""
    inputs = keras.Input([3], dtype="int64")
    hidden = keras.layers.Flatten()(part(inputs))
    outputs = keras.layers.Dense(1, kernel_initializer="ones")(hidden)
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.SGD(0.5, **clip)
    if hasattr(part, "table"):
        optimizer = mt.keras3.with_tables(optimizer)
    model.compile(optimizer, "mse", **kwargs)
    model.fit(IDS, LABELS, batch_size=3, epochs=3, shuffle=False, verbose=0)
    return [weight.numpy() for weight in model.layers[-1].weights]


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("scale", [None, 64.0])
@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_rows_and_weights_equal_those_of_an_embedding(clip, scale, run_eagerly):
    with mt.TableSet():
        layer = mt.keras3.DynamicEmbedding(
            mt.TableConfig("movie", dim=2, optimizer=mt.optimizers.SGD(0.5))
        )
    start = layer.table.lookup(np.arange(5)).numpy()
    embedding = keras.layers.Embedding(5, 2, weights=[start])
    weights = train(
        layer, {**clip, "loss_scale_factor": scale}, run_eagerly=run_eagerly
    )
    expected = train(embedding, clip)
    rows = layer.table.lookup(np.arange(5)).numpy()
    np.testing.assert_allclose(rows, embedding.embeddings, rtol=1e-6, atol=1e-6)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    assert np.abs(rows - start).max() > 1e-3


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
    weight = keras.Variable([0.0])
    optimizer = mt.keras3.with_tables(
        keras.optimizers.SGD(1.0, global_clipnorm=1.0)
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(3 * table.lookup([7]))
        loss += tf.reduce_sum(4 * tf.convert_to_tensor(weight))
    variables = [*table.trainable_variables, weight]
    optimizer.apply(tape.gradient(loss, variables), variables)
    # The norm is 5, so both are divided by 5.
    np.testing.assert_allclose(table.lookup([7]), [[-0.6]], rtol=1e-6)
    np.testing.assert_allclose(weight.numpy(), [-0.8], rtol=1e-6)
    assert optimizer.global_clipnorm == 1.0
