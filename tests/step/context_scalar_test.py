"""Times and request ids of blocks around functions that were traced."""

from __future__ import annotations

import warnings

import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.step import context_scalar
from monolith_tf.step import event_time
from monolith_tf.step import request_id

ONE = tf.constant([7], tf.int64)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forgets the functions that other tests traced."""

    monkeypatch.setattr(
        event_time, "_times", context_scalar.BlockValue("mt.event_time")
    )
    monkeypatch.setattr(
        request_id, "_ids", context_scalar.BlockValue("mt.request_id")
    )


def make_table(**arguments):
    with mt.TableSet():
        return mt.Table(
            mt.TableConfig(
                "item",
                1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
                **arguments,
            )
        )


def stamps(table):
    return {
        int(id): int(stamp)
        for ids, found, _ in export_rows(table)
        for id, stamp in zip(ids, found, strict=True)
    }


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_a_traced_function_that_keeps_its_request_id_is_told():
    table = make_table()

    @tf.function
    def step(ids):
        table.apply_gradients(ids, tf.ones([1, 1]))

    with mt.request_id(11):
        step(ONE)
    with (
        pytest.warns(RuntimeWarning, match="read the 12 .*mt.request_id"),
        mt.request_id(12),
    ):
        step(ONE)


def test_a_model_that_keeps_the_time_it_was_traced_with_is_told():
    config = mt.TableConfig("time", 1, eviction=mt.Eviction(ttl_seconds=100))
    model = tf_keras.Sequential([mt.layers.DynamicEmbedding(config)])
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    with mt.event_time(1000):
        model.train_on_batch(ONE, tf.ones([1, 1]))
    with (
        pytest.warns(RuntimeWarning, match="read the 5000 .*mt.event_time"),
        mt.event_time(5000),
    ):
        model.train_on_batch(ONE, tf.ones([1, 1]))


def test_a_function_that_was_traced_with_the_clock_is_told():
    table = make_table()

    @tf.function
    def step(ids):
        table.apply_gradients(ids, tf.ones([1, 1]))

    step(ONE)
    with (
        pytest.warns(RuntimeWarning, match="No update of a table read"),
        mt.event_time(5000),
    ):
        step(ONE)


@pytest.mark.usefixtures("no_warnings")
def test_a_tensor_that_the_function_is_given_holds_each_time():
    table = make_table()

    @tf.function
    def step(ids, time, request):
        with mt.event_time(time), mt.request_id(request):
            table.apply_gradients(ids, tf.ones([1, 1]))

    for time in (1000, 2000, 3000):
        step(ONE, tf.constant(time, tf.int64), tf.constant(time))
        assert stamps(table) == {7: time}
    # Such a function keeps no number, so an idle block says nothing.
    with mt.event_time(4000), mt.request_id(4000):
        pass
    assert table.lookup(ONE).numpy().tolist() == [[-3.0]]


@pytest.mark.usefixtures("no_warnings")
def test_one_time_for_all_steps_and_eager_updates_are_fine():
    table = make_table()

    @tf.function
    def step(ids):
        table.apply_gradients(ids, tf.ones([1, 1]))

    for _ in range(2):
        with mt.event_time(1000):
            step(ONE)
    for time in (2000, 3000):
        with mt.event_time(time):
            table.apply_gradients(ONE, [[1.0]])
    assert stamps(table) == {7: 3000}


@pytest.mark.usefixtures("no_warnings")
def test_a_block_without_updates_is_fine_where_nothing_was_traced():
    with mt.event_time(1000), mt.request_id(3):
        pass


def test_an_error_in_a_block_is_all_that_is_said():
    table = make_table()

    @tf.function
    def step(ids):
        table.apply_gradients(ids, tf.ones([1, 1]))

    step(ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroDivisionError), mt.event_time(1000):
            raise ZeroDivisionError
