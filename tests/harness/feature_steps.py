"""Training steps whose updates can be counted by hand, and their rows.

Each id that a step asks for has the gradient 1, so that a row of zeros that SGD
steps at rate 1 is minus the number of its updates.
"""

import tensorflow as tf
import tf_keras

import monolith_tf as mt

# The gradients reach the tables in one op, or as slices of one kind or another.
WAYS = ["fused", "eager", "clipped", "in a function"]


def trainer(way, call, variables):
    """Returns a step of the inputs of `call`, one of `WAYS`.

    Args:
        way: Path of the gradients to the tables.
        call: Function from inputs to a list of vectors.
        variables: Trainable variables of the layers that `call` calls.
    """
    clip = {"clipnorm": 1e6} if way == "clipped" else {}
    optimizer = mt.optimizers.with_tables(tf_keras.optimizers.SGD(**clip))
    if way == "in a function":
        call = tf.function(call, reduce_retracing=True)

    def step(inputs):
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(v) for v in call(inputs)])
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return step if way == "eager" else tf.function(step, reduce_retracing=True)


def timed_trainer(way, call, variables):
    """Returns a step of inputs and of the seconds of its event time."""

    def step_at(inputs, time):
        with mt.event_time(time):
            step(inputs)

    if way == "eager":
        step = trainer(way, call, variables)
    else:
        step = trainer(way, call, variables).python_function
        step_at = tf.function(step_at, reduce_retracing=True)
    return lambda inputs, time: step_at(inputs, tf.constant(time, tf.int64))


def rows_of(table):
    """Returns the first weight of each row, by id."""
    return {
        int(id): float(row[0])
        for ids, rows in table.export()
        for id, row in zip(ids, rows, strict=True)
    }


def ragged(*ids):
    """Returns one example of these ids."""
    return tf.RaggedTensor.from_row_lengths(
        tf.constant(ids, tf.int64), [len(ids)]
    )
