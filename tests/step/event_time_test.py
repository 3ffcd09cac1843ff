"""Rows take the time that the user passes, in a loop and in `fit`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows


def config():
    return mt.TableConfig("user", dim=1, optimizer=mt.optimizers.SGD(0.1))


def times_of(table):
    return {
        int(i): int(stamp)
        for ids, stamps, _ in export_rows(table)
        for i, stamp in zip(ids, stamps, strict=True)
    }


def test_updates_and_assignments_take_the_time_of_the_context():
    table = mt.Table(config())
    with mt.event_time(1000):
        table.apply_gradients([1], [[1.0]])
        table.assign([2], [[1.0]])
    with mt.event_time(tf.constant(2000)):
        table.apply_gradients([3], [[1.0]])
    with mt.event_time(np.int32(3000)):
        table.apply_gradients([4], [[1.0]])
    assert times_of(table) == {1: 1000, 2: 1000, 3: 2000, 4: 3000}


def test_an_argument_goes_before_the_context():
    table = mt.Table(config())
    with mt.event_time(1000):
        table.apply_gradients([1], [[1.0]], event_time=77)
    assert times_of(table) == {1: 77}


def test_without_a_context_it_is_the_clock():
    table = mt.Table(config())
    before = int(tf.timestamp())
    table.apply_gradients([1], [[1.0]])
    assert before <= times_of(table)[1] <= int(tf.timestamp())


def test_a_train_step_passes_the_time_of_its_batch():
    class Timed(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = mt.layers.DynamicEmbedding(config())

        def call(self, inputs):
            return tf.reduce_sum(self.embedding(inputs["ids"]), axis=[1, 2])

        def train_step(self, data):
            inputs, labels = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(
                    y=labels, y_pred=self(inputs, training=True)
                )
            variables = self.trainable_variables
            gradients = tape.gradient(loss, variables)
            with mt.event_time(tf.reduce_max(inputs["time"])):
                self.optimizer.apply_gradients(
                    zip(gradients, variables, strict=True)
                )
            return {"loss": loss}

    model = Timed()
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    ids = np.arange(8, dtype=np.int64).reshape(8, 1)
    data = tf.data.Dataset.from_tensor_slices(
        ({"ids": ids, "time": np.arange(100, 108)}, np.ones(8, np.float32))
    ).batch(4)
    model.fit(data, verbose=0)
    times = times_of(model.embedding.table)
    assert times == {i: 103 if i < 4 else 107 for i in range(8)}


def test_a_vector_of_times_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"scalar.*\(2,\).*reduce_max"):
        with mt.event_time([1, 2]):
            pass


@pytest.mark.parametrize(
    "time", [1.5, np.float64(2000.0), tf.constant(2000.7), True, "now"]
)
def test_a_time_that_is_no_integer_is_refused(time):
    table = mt.Table(config())
    message = "event_time takes int64 seconds since the epoch. Received: "
    for use in (
        lambda: table.apply_gradients([1], [[1.0]], event_time=time),
        lambda: table.assign([1], [[1.0]], event_time=time),
        lambda: table.sweep(event_time=time),
        lambda: mt.event_time(time).__enter__(),
    ):
        with pytest.raises(TypeError, match=message):
            use()
    assert table.size() == 0
    table.apply_gradients([1], [[1.0]], event_time=1)
    assert times_of(table) == {1: 1}
