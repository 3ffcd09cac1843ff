"""A table's rate is a number, a schedule of the global step, or a variable."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

SCHEDULES = {
    "keras": tf_keras.optimizers.schedules.PiecewiseConstantDecay(
        [0, 1], [1.0, 0.5, 0.25]
    ),
    "function": lambda step: tf.where(
        step < 1, 1.0, tf.where(step < 2, 0.5, 0.25)
    ),
}


def make_model(rate):
    with mt.TableSet():
        inputs = tf_keras.Input([], dtype="int64")
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(rate),
                initializer=mt.initializers.Zeros(),
            )
        )
        model = tf_keras.Model(inputs, layer(inputs))
    # The loss is the row itself: its gradient is 1.
    model.compile(
        mt.optimizers.with_tables("sgd"), lambda _, y: tf.reduce_sum(y, -1)
    )
    return model, layer.table


def fit(model, steps):
    model.fit(np.full(steps, 7), np.zeros(steps), batch_size=1, verbose=0)


@pytest.mark.parametrize("kind", list(SCHEDULES))
def test_a_schedule_is_asked_for_the_step_of_the_training(kind):
    model, table = make_model(SCHEDULES[kind])
    fit(model, 4)
    assert table.lookup([7]).numpy().tolist() == [[-(1 + 0.5 + 0.25 + 0.25)]]


@pytest.mark.parametrize("kind", list(SCHEDULES))
def test_a_schedule_of_a_table_of_its_own_counts_its_calls(kind):
    with mt.TableSet():
        table = mt.Table(
            mt.TableConfig(
                "movie",
                dim=1,
                optimizer=mt.optimizers.SGD(SCHEDULES[kind]),
                initializer=mt.initializers.Zeros(),
            )
        )
    for _ in range(2):
        table.apply_gradients([7], [[1.0]])
    assert table.lookup([7]).numpy().tolist() == [[-1.5]]
    table.apply_gradients([7], [[1.0]], step=tf.constant(100, tf.int64))
    assert table.lookup([7]).numpy().tolist() == [[-1.75]]
    table.apply_gradients([7], [[1.0]], learning_rate=4.0)
    assert table.lookup([7]).numpy().tolist() == [[-5.75]]


def test_a_variable_that_changes_between_steps_is_read_at_each():
    rate = tf.Variable(1.0)
    model, table = make_model(rate)
    fit(model, 2)
    assert table.lookup([7]).numpy().tolist() == [[-2]]
    rate.assign(0.25)
    fit(model, 2)
    assert table.lookup([7]).numpy().tolist() == [[-2.5]]


def test_a_callback_may_change_the_variable_during_fit():
    rate = tf.Variable(1.0)
    model, table = make_model(rate)
    halve = tf_keras.callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: rate.assign(rate / 2)
    )
    model.fit(
        np.full(3, 7), np.zeros(3), batch_size=1, verbose=0, callbacks=[halve]
    )
    assert table.lookup([7]).numpy().tolist() == [[-1.75]]


def test_the_compiled_optimizers_rate_is_not_the_tables():
    model, table = make_model(1.0)
    model.optimizer.learning_rate = 100.0
    fit(model, 1)
    assert table.lookup([7]).numpy().tolist() == [[-1]]


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        ("0.1", TypeError, "a number, a schedule or a tf.Variable"),
        (True, TypeError, "a number, a schedule or a tf.Variable"),
        (-0.1, ValueError, "learning_rate >= 0"),
        (float("nan"), ValueError, "finite learning_rate"),
    ],
)
def test_other_rates_are_refused(rate, error, message):
    with pytest.raises(error, match=message):
        mt.optimizers.Adagrad(learning_rate=rate)


def test_a_config_keeps_a_keras_schedule_and_a_variables_value():
    schedule = SCHEDULES["keras"]
    for rate, step, expected in (
        (schedule, 1, 0.5),
        (tf.Variable(0.75), 1, 0.75),
        (0.125, 1, 0.125),
    ):
        config = mt.TableConfig("a", dim=1, optimizer=mt.optimizers.Adam(rate))
        again = mt.TableConfig.from_config(config.get_config())
        got = again.optimizer.learning_rate_at(tf.constant(step, tf.int64))
        assert got.numpy() == expected
    function = mt.optimizers.SGD(SCHEDULES["function"])
    with pytest.raises(ValueError, match="LearningRateSchedule"):
        function.get_config()
