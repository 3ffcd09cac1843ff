"""A task of a cluster that trains an Estimator: `TF_CONFIG` says which.

Every worker trains on batches of its own that overlap with those of the others.
With SGD and powers of two as gradients every row is a sum that floats hold, so
each must equal its sum.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
DIM = 2
NUM_IDS = 300


def batches(worker, steps):
    random = np.random.default_rng(worker)
    for _ in range(steps):
        length = int(random.integers(1, 200))
        ids = random.integers(0, NUM_IDS, length) * 2**50
        yield ids, 2.0 ** random.integers(-3, 3, length)


def sums(workers, steps):
    """What every row must be, by id."""
    total = {}
    for worker in workers:
        for ids, values in batches(worker, steps):
            for id_, value in zip(ids, values):
                total[int(id_)] = total.get(int(id_), 0.0) - value
    return total


def table_config():
    return mt.TableConfig(
        "movie",
        DIM,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


def model_fn(features, labels, mode):
    rows = mt.layers.DynamicEmbedding(table_config())(features)
    bias = v1.get_variable("bias", [], initializer=v1.zeros_initializer())
    loss = tf.reduce_sum(rows * labels[:, None]) + bias
    if mode == estimators.ModeKeys.EVAL:
        return estimators.EstimatorSpec(mode, loss=loss)
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(1.0, use_locking=True)
    )
    step = v1.train.get_global_step()
    return estimators.EstimatorSpec(
        mode, loss=loss, train_op=optimizer.minimize(loss, step)
    )


class Wait(v1.train.SessionRunHook):
    """At the end of its input a worker stays until all have made their steps.

    The end of the chief's session saves a checkpoint, which must have them.
    """

    def __init__(self, directory, config, steps):
        self._mine = directory / f"done-{config.global_id_in_cluster}"
        self._all = [
            directory / f"done-{worker}"
            for worker in range(config.num_worker_replicas)
        ]
        self._left = steps

    def after_run(self, run_context, run_values):
        self._left -= 1
        if self._left:
            return
        self._mine.touch()
        wait_for(lambda: all(path.exists() for path in self._all))


def wait_for(condition):
    import threading

    pause = threading.Event()
    while not condition():
        pause.wait(0.05)


def main(directory, steps, save_steps=20):
    directory = pathlib.Path(directory)
    config = estimators.RunConfig(
        str(directory / "model"),
        save_checkpoints_secs=None,
        save_checkpoints_steps=int(save_steps),
        log_step_count_steps=None,
    )
    worker = config.global_id_in_cluster

    def input_fn():
        return tf.data.Dataset.from_generator(
            lambda: batches(worker, int(steps)),
            output_signature=(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.float32),
            ),
        )

    estimators.train_and_evaluate(
        estimators.Estimator(model_fn, config=config),
        estimators.TrainSpec(
            input_fn, hooks=[Wait(directory, config, int(steps))]
        ),
        estimators.EvalSpec(input_fn),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
