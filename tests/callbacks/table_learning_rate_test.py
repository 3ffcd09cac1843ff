"""Rates of tables follow the Keras optimizer's."""

import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt


def test_a_scheduler_of_keras_reaches_the_rows(make_row_model, fit):
    model, table = make_row_model(tf.Variable(9.0))
    rates = [1.0, 0.5, 0.25]
    scheduler = tf_keras.callbacks.LearningRateScheduler(rates.__getitem__)
    fit(model, 3, scheduler, mt.callbacks.TableLearningRate(factor=2.0))
    # Two steps an epoch, at twice the rate.
    assert float(table.lookup([7])[0, 0]) == -4.0 * sum(rates)


def test_a_schedule_of_the_optimizer_is_asked_at_its_step(make_row_model, fit):
    schedule = tf_keras.optimizers.schedules.PiecewiseConstantDecay(
        [1], [1.0, 0.25]
    )
    model, table = make_row_model(
        tf.Variable(9.0), tf_keras.optimizers.SGD(schedule)
    )
    fit(model, 2, mt.callbacks.TableLearningRate(tables=["movie"]))
    assert float(table.lookup([7])[0, 0]) == -2.5


def test_a_rate_that_is_a_number_is_refused(make_row_model, fit):
    model, _ = make_row_model(1.0)
    with pytest.raises(
        ValueError, match="Received: .* for every table of the model"
    ):
        fit(model, 1, mt.callbacks.TableLearningRate())
    with pytest.raises(ValueError, match="Received: .* for table 'movie'"):
        fit(model, 1, mt.callbacks.TableLearningRate(tables=["movie"]))


def test_a_table_that_the_model_has_not_is_refused(make_row_model, fit):
    model, _ = make_row_model(tf.Variable(1.0))
    with pytest.raises(ValueError, match=r"\['movie'\]. Received: 'user'"):
        fit(model, 1, mt.callbacks.TableLearningRate(tables=["user"]))
