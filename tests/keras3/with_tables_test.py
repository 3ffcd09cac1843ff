"""The wrapper of Keras 3: what it makes, what it keeps, what it refuses."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of

PLAIN = ["sgd", "adam", "adagrad", "adamw", "ftrl", "rmsprop", "nadam", "lion"]


def make_model(optimizer=None, **kwargs):
    with mt.TableSet():
        model = keras.Sequential(
            [
                keras.Input([], dtype="int64"),
                mt.keras3.DynamicEmbedding(mt.TableConfig("movie", dim=2)),
                keras.layers.Dense(1),
            ]
        )
    if optimizer is not None:
        model.compile(optimizer, "mse", **kwargs)
    return model


@keras.saving.register_keras_serializable(package="monolith_tf_tests")
def sum_of_outputs(labels, outputs):
    del labels
    return tf.reduce_sum(outputs, -1)


def fit(model, steps=3):
    ids = np.arange(steps * 4) % 5
    return model.fit(ids, ids / 4.0, batch_size=4, shuffle=False, verbose=0)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_optimizer_is_refused_with_the_line_to_write(name, run_eagerly):
    model = make_model(keras.optimizers.get(name), run_eagerly=run_eagerly)
    with pytest.raises(
        mt.MonolithError, match=r"mt\.keras3\.with_tables\(optimizer\)"
    ):
        fit(model)
    assert model.layers[0].table.size() == 0


def test_what_is_no_optimizer_of_keras_3_is_refused():
    for other in (tf_keras.optimizers.Adam(), 0.1, mt.optimizers.Adam()):
        with pytest.raises(TypeError, match="takes an optimizer of Keras 3"):
            mt.keras3.with_tables(other)
    with pytest.raises(TypeError, match=r"use mt\.keras3\.with_tables"):
        mt.optimizers.with_tables(keras.optimizers.Adam())


def test_an_optimizer_that_was_used_is_refused():
    optimizer = keras.optimizers.Adam()
    optimizer.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="takes a new optimizer"):
        mt.keras3.with_tables(optimizer)


def test_gradient_accumulation_is_refused():
    optimizer = keras.optimizers.SGD(gradient_accumulation_steps=4)
    with pytest.raises(ValueError, match=r"mt\.optimizers\.sum_gradients"):
        mt.keras3.with_tables(optimizer)


def test_gradients_of_several_batches_are_summed_by_hand():
    layer = make_model().layers[0]
    optimizer = mt.keras3.with_tables("sgd")
    variables = layer.trainable_variables
    before = layer.table.lookup([1, 2]).numpy()
    parts = []
    for ids in ([1, 2], [2]):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant(ids, tf.int64)))
        parts.append(tape.gradient(loss, variables))
    optimizer.apply(
        [
            mt.optimizers.sum_gradients(gradients)
            for gradients in zip(*parts, strict=True)
        ],
        variables,
    )
    moved = before - layer.table.lookup([1, 2]).numpy()
    assert (moved > 0).all()
    assert int(optimizer.iterations) == 1


def test_a_gradient_that_was_made_dense_is_refused():
    layer = make_model().layers[0]
    optimizer = mt.keras3.with_tables("sgd")
    with pytest.raises(TypeError, match="must be a tf.IndexedSlices"):
        optimizer.apply([tf.zeros([0, 2])], layer.trainable_variables)


@pytest.mark.parametrize("name", PLAIN)
def test_every_optimizer_moves_dense_weights_as_it_does_alone(name):
    weights = []
    for wrap in (mt.keras3.with_tables, lambda optimizer: optimizer):
        weight = keras.Variable([[1.0, -2.0], [3.0, 4.0]])
        optimizer = wrap(keras.optimizers.get(name))
        table = make_model().layers[0].table
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.convert_to_tensor(weight) ** 2)
                if wrap is mt.keras3.with_tables:
                    loss += tf.reduce_sum(table.lookup([1, 2]))
            variables = [weight]
            if wrap is mt.keras3.with_tables:
                variables.insert(0, table.trainable_variables[0])
            optimizer.apply(tape.gradient(loss, variables), variables)
        weights.append(weight.numpy())
        assert int(optimizer.iterations) == 3
    np.testing.assert_array_equal(*weights)
    assert weights[0][0, 0] != 1


def test_a_wrapped_optimizer_is_left_as_it_is():
    optimizer = mt.keras3.with_tables("adam")
    assert mt.keras3.with_tables(optimizer) is optimizer
    assert isinstance(optimizer, keras.optimizers.Adam)


def test_config_and_class_survive_being_written_down():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    for optimizer in (
        keras.optimizers.AdamW(0.25, weight_decay=0.125, clipnorm=2.0),
        keras.optimizers.SGD(schedule, momentum=0.5, nesterov=True),
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.25), initial_scale=8.0
        ),
    ):
        wrapped = mt.keras3.with_tables(optimizer)
        again = type(wrapped).from_config(wrapped.get_config())
        loaded = keras.optimizers.deserialize(
            keras.optimizers.serialize(wrapped)
        )
        for other in (again, loaded):
            assert type(other) is type(wrapped)
            assert other.get_config() == wrapped.get_config()


def test_apply_without_variables_takes_those_of_build():
    model = make_model()
    layer = model.layers[0]
    optimizer = mt.keras3.with_tables("sgd")
    ids = tf.constant([1, 2], tf.int64)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids))
    gradients = tape.gradient(loss, model.trainable_variables)
    with pytest.raises(ValueError, match="apply needs the variables"):
        optimizer.apply(gradients)
    optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="2 gradients for 3 variables"):
        optimizer.apply(gradients[:2])
    optimizer.apply(gradients)
    assert layer.table.size() == 2
    assert int(optimizer.iterations) == 1


def test_a_step_without_gradients_of_rows_or_of_weights_is_a_step():
    model = make_model()
    optimizer = mt.keras3.with_tables("sgd")
    variables = model.trainable_variables
    optimizer.build(variables)
    ids = tf.constant([1, 2], tf.int64)
    with tf.GradientTape() as tape:
        rows = tf.reduce_sum(model.layers[0](ids))
    optimizer.apply(tape.gradient(rows, variables), variables)
    assert (model.layers[0].table.size(), int(optimizer.iterations)) == (2, 1)
    with tf.GradientTape() as tape:
        weights = tf.reduce_sum(model.layers[1](tf.ones([1, 2])))
    optimizer.apply(tape.gradient(weights, variables), variables)
    assert (model.layers[0].table.size(), int(optimizer.iterations)) == (2, 2)
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None] * 3, variables)
    with pytest.raises(ValueError, match="No gradients provided"):
        optimizer.apply([None], variables[:1])


def test_averages_are_those_of_dense_weights_and_put_in_place_after_fit():
    model = make_model(
        mt.keras3.with_tables(
            keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        )
    )
    fit(model)
    averages = [
        variable
        for variable in model.optimizer.variables
        if "average" in variable.path
    ]
    assert len(averages) == 2
    for weight, average in zip(model.layers[1].weights, averages, strict=True):
        np.testing.assert_array_equal(weight, average)


def test_weight_decay_is_for_dense_weights():
    model = make_model(
        mt.keras3.with_tables(keras.optimizers.SGD(0.0, weight_decay=0.1))
    )
    fit(model)
    assert model.layers[0].table.size() == 5


def test_a_schedule_of_keras_3_is_a_tables_learning_rate(tmp_path):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    config = mt.TableConfig(
        "movie",
        dim=1,
        optimizer=mt.optimizers.SGD(schedule),
        initializer=mt.initializers.Zeros(),
    )
    with mt.TableSet():
        layer = mt.keras3.DynamicEmbedding(config)
    model = keras.Sequential([keras.Input([], dtype="int64"), layer])
    model.compile(mt.keras3.with_tables("sgd"), sum_of_outputs)
    model.fit(np.array([7, 7]), np.zeros(2), batch_size=1, verbose=0)
    assert float(layer.table.lookup([7])[0, 0]) == -0.5 - 0.25
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    (table,) = tables_of(loaded)
    assert table.config.get_config() == config.get_config()
    (segment,) = table.config.segments
    assert isinstance(segment.optimizer.learning_rate, type(schedule))
