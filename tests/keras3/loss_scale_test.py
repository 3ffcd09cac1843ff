"""Loss scaling and mixed precision of Keras 3 reach the rows unscaled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of

LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def make_layer(config):
    with mt.TableSet():
        return mt.keras3.DynamicEmbedding(config)


def run(in_function, layer, optimizer, factor):
    variables = layer.trainable_variables
    if not optimizer.built:
        optimizer.build(variables)

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([4, 4], tf.int64)) * factor)
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, variables), variables)

    (tf.function(step) if in_function else step)()


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: LossScaleOptimizer(
            keras.optimizers.SGD(), initial_scale=1024.0
        ),
        lambda: keras.optimizers.SGD(loss_scale_factor=1024.0),
    ],
    ids=["dynamic", "fixed"],
)
def test_rows_get_the_unscaled_gradient(make_config, in_function, optimizer):
    layer = make_layer(make_config())
    optimizer = mt.keras3.with_tables(optimizer())
    run(in_function, layer, optimizer, 3.0)
    # Id 4 twice: 1 - 0.5 * 2 * 3.
    assert layer.table.lookup([4]).numpy().tolist() == [[-2, -2]]
    assert int(optimizer.iterations) == 1


@pytest.mark.parametrize("in_function", [False, True])
def test_a_step_that_overflows_changes_no_row_and_halves_the_scale(
    make_config, in_function
):
    layer = make_layer(make_config())
    optimizer = mt.keras3.with_tables(
        LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=1024.0)
    )
    run(in_function, layer, optimizer, np.float32(np.inf))
    assert layer.table.size() == 0
    assert float(optimizer.dynamic_scale) == 512
    run(in_function, layer, optimizer, 3.0)
    assert layer.table.lookup([4]).numpy().tolist() == [[-2, -2]]


def test_wrapping_a_loss_scale_optimizer_wraps_the_inner_one():
    optimizer = mt.keras3.with_tables(
        LossScaleOptimizer(
            keras.optimizers.Adam(0.25),
            initial_scale=8.0,
            dynamic_growth_steps=3,
        )
    )
    assert isinstance(optimizer, LossScaleOptimizer)
    assert type(optimizer.inner_optimizer).__name__ == "AdamWithTables"
    assert optimizer.initial_scale == 8
    assert optimizer.dynamic_growth_steps == 3
    assert mt.keras3.with_tables(optimizer) is optimizer


@pytest.fixture
def mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


def make_model(config, optimizer):
    with mt.TableSet():
        ids = keras.Input([2], dtype="int64")
        vectors = mt.keras3.DynamicEmbedding(config, "sum")(ids)
        scores = keras.layers.Dense(1, kernel_initializer="ones")(vectors)
        model = keras.Model(ids, scores)
    model.compile(optimizer, "mse")
    return model


def test_a_mixed_precision_model_trains(make_config, mixed_float16):
    optimizer = mt.keras3.with_tables(
        LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=16.0)
    )
    model = make_model(make_config(), optimizer)
    assert model.optimizer is optimizer
    model.fit(np.array([[1, 2]]), np.zeros(1), verbose=0)
    # As in float32: 2 * 4, by the rate 0.5.
    rows = tables_of(model)[0].lookup([1, 2]).numpy()
    assert rows.tolist() == [[-3, -3], [-3, -3]]


def test_the_wrapper_that_compile_adds_is_refused_with_the_way_that_works(
    make_config, mixed_float16
):
    model = make_model(make_config(), mt.keras3.with_tables("sgd"))
    with pytest.raises(
        mt.MonolithError,
        match=r"mixed_float16 mt\.keras3\.with_tables\(keras\.optimizers\.Loss",
    ):
        model.fit(np.array([[1, 2]]), np.zeros(1), verbose=0)
