"""Part of `cluster_program.py`: one worker takes half a second per batch.

Every step adds 1 to the row of its worker.
"""

import tensorflow as tf
import tf_keras

import monolith_tf as mt

STEPS = 80


def make_dataset(context):
    """Batches that are the number of the worker."""
    del context
    # A dataset is not told on which worker it is; the process's environment
    # says it.
    place = tf.data.TextLineDataset("/proc/self/environ").filter(
        lambda line: tf.strings.regex_full_match(line, '(?s).*"worker", "in.*')
    )

    def batch(line):
        is_slow = tf.strings.regex_full_match(
            line, '(?s).*"type": "worker", "index": 0.*'
        )
        worker = tf.where(is_slow, 0, 1)
        end = tf.timestamp() + tf.where(
            is_slow, tf.constant(0.5, tf.float64), 0.0
        )
        # A worker runs no Python, so that it is busy rather than asleep.
        (now,) = tf.while_loop(
            lambda now: now < end, lambda now: [tf.timestamp()], [end - 1.0]
        )
        with tf.control_dependencies([now]):
            return tf.fill([1], tf.cast(worker, tf.int64)), [[0.0]]

    return place.take(1).repeat().map(batch)


def run(cluster, strategy, coordinator, directory):
    """Trains one epoch; returns the steps of the slow and the fast worker."""
    del cluster, coordinator, directory
    with strategy.scope(), mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "worker",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
        )
        inputs = tf_keras.Input([], dtype="int64")
        model = tf_keras.Model(inputs, layer(inputs))
        model.compile(
            mt.optimizers.with_tables("sgd"),
            lambda _, row: -tf.reduce_sum(row, -1),
        )
    model.fit(
        tf_keras.utils.experimental.DatasetCreator(make_dataset),
        steps_per_epoch=STEPS,
        verbose=0,
    )
    return layer.table.lookup([0, 1]).numpy()[:, 0].tolist()
