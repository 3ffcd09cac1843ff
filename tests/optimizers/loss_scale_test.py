"""Loss scaling and mixed precision reach the rows unscaled, or not at all."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

LossScaleOptimizer = tf_keras.mixed_precision.LossScaleOptimizer


def make_layer():
    with mt.TableSet():
        return mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie",
                dim=2,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Constant(1.0),
            )
        )


def make_optimizer(scale=1024.0, **kwargs):
    return LossScaleOptimizer(
        mt.optimizers.with_tables("sgd"), initial_scale=scale, **kwargs
    )


def step(layer, optimizer, factor):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([4, 4], tf.int64)) * factor)
        scaled = optimizer.get_scaled_loss(loss)
    variables = layer.trainable_variables
    gradients = optimizer.get_unscaled_gradients(
        tape.gradient(scaled, variables)
    )
    optimizer.apply_gradients(zip(gradients, variables, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("in_function", [False, True])
def test_rows_get_the_unscaled_gradient(in_function):
    layer, optimizer = make_layer(), make_optimizer()
    run = tf.function(step) if in_function else step
    run(layer, optimizer, 3.0)
    # Id 4 twice: 1 - 2 * 3.
    assert layer.table.lookup([4]).numpy().tolist() == [[-5, -5]]
    assert optimizer.inner_optimizer.iterations.numpy() == 1


@pytest.mark.parametrize("in_function", [False, True])
def test_a_step_that_overflows_changes_no_row_and_halves_the_scale(
    in_function,
):
    layer, optimizer = make_layer(), make_optimizer()
    run = tf.function(step) if in_function else step
    run(layer, optimizer, tf.constant(np.inf))
    assert layer.table.size() == 0
    assert layer.table.lookup([4]).numpy().tolist() == [[1, 1]]
    assert optimizer.loss_scale.numpy() == 512
    run(layer, optimizer, tf.constant(3.0))
    assert layer.table.lookup([4]).numpy().tolist() == [[-5, -5]]


def test_wrapping_a_loss_scale_optimizer_wraps_the_inner_one():
    inner = tf_keras.optimizers.Adam(0.25)
    optimizer = mt.optimizers.with_tables(
        LossScaleOptimizer(inner, dynamic=False, initial_scale=8.0)
    )
    assert isinstance(optimizer, LossScaleOptimizer)
    assert type(optimizer.inner_optimizer).__name__ == "AdamWithTables"
    assert optimizer.inner_optimizer.learning_rate.numpy() == 0.25
    assert not optimizer.dynamic
    assert optimizer.loss_scale.numpy() == 8
    assert mt.optimizers.with_tables(optimizer) is optimizer


@pytest.mark.slow
def test_mixed_float16_trains_as_float32_does():
    rows = []
    random = np.random.default_rng(0)
    ids = random.integers(0, 20, (64, 3))
    labels = (ids[:, 0] > 10).astype(np.float32)
    for policy in ("mixed_float16", "float32"):
        tf_keras.mixed_precision.set_global_policy(policy)
        try:
            with mt.TableSet():
                inputs = tf_keras.Input([3], dtype="int64")
                layer = mt.layers.DynamicEmbedding(
                    mt.TableConfig("movie", dim=4), "mean"
                )
                glorot = tf_keras.initializers.GlorotUniform(seed=1)
                hidden = tf_keras.layers.Dense(
                    8, "relu", kernel_initializer=glorot
                )(layer(inputs))
                outputs = tf_keras.layers.Dense(
                    1, "sigmoid", kernel_initializer=glorot, dtype="float32"
                )(hidden)
                model = tf_keras.Model(inputs, outputs)
            model.compile(
                mt.optimizers.with_tables("adam"), "binary_crossentropy"
            )
            model.fit(
                ids, labels, batch_size=16, epochs=3, shuffle=False, verbose=0
            )
        finally:
            tf_keras.mixed_precision.set_global_policy("float32")
        scaled = isinstance(model.optimizer, LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16")
        assert layer(tf.constant([[1, 2, 3]])).dtype == layer.compute_dtype
        rows.append(layer.table.lookup(np.arange(20)).numpy())
    assert rows[0].dtype == np.float32
    np.testing.assert_allclose(rows[0], rows[1], atol=2e-3)
