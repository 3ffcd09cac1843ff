"""A task of a cluster that trains an Estimator: `TF_CONFIG` says which.

python between_graphs_program.py DIRECTORY STEPS [fail]

Every worker trains on batches of its own that overlap with those of the others.
With SGD and powers of two as gradients every row is a sum that floats hold, so
each must equal its sum. What a worker finished is a line of
DIRECTORY/steps-<worker>-<process>. With "fail" every worker loses its session
twice, when the servers have taken a step.
"""

from __future__ import annotations

import os
import pathlib
import sys
import threading

import numpy as np
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
DIM = 2
NUM_IDS = 300
FAILURES = (10, 25)


def batches(worker, steps):
    random = np.random.default_rng(worker)
    for _ in range(steps):
        length = int(random.integers(1, 200))
        ids = random.integers(0, NUM_IDS, length) * 2**50
        yield ids, 2.0 ** random.integers(-3, 3, length)


def sums(found):
    """Returns the expected rows by id: minus the sums of the gradients."""
    total = {}
    for ids, values in found:
        for id_, value in zip(ids.tolist(), values.tolist()):
            total[id_] = total.get(id_, 0.0) - value
    return total


def table_config():
    return mt.TableConfig(
        "movie",
        DIM,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


class Fail(v1.train.SessionRunHook):
    """Loses the session when the servers have a step and its worker not."""

    def __init__(self, train_op):
        self._train_op = train_op
        self._left = list(FAILURES)
        self._count = 0

    def before_run(self, run_context):
        self._count += 1
        if self._left and self._count == self._left[0]:
            self._left.pop(0)
            run_context.session.run(self._train_op)
            raise tf.errors.UnavailableError(None, None, "No connection.")


def model_fn(features, labels, mode, params):
    rows = mt.layers.DynamicEmbedding(table_config())(features)
    bias = v1.get_variable("bias", [], initializer=v1.zeros_initializer())
    loss = tf.reduce_sum(rows * labels[:, None]) + bias
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(1.0, use_locking=True)
    )
    train_op = optimizer.minimize(loss, v1.train.get_global_step())
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=train_op,
        training_hooks=[Fail(train_op)] if params["fail"] else [],
    )


class Count(v1.train.SessionRunHook):
    """Writes down each step, and waits at the end of the input.

    The end of the chief's session saves a checkpoint, which must have the steps
    of all workers.
    """

    def __init__(self, directory, config, steps):
        worker = config.global_id_in_cluster
        self._log = directory / f"steps-{worker}-{os.getpid()}"
        self._mine = directory / f"done-{worker}"
        self._all = [
            directory / f"done-{worker}"
            for worker in range(config.num_worker_replicas)
        ]
        self._left = steps

    def after_run(self, run_context, run_values):
        with open(self._log, "a") as log:
            log.write("a step\n")
        self._left -= 1
        if self._left:
            return
        self._mine.touch()
        pause = threading.Event()
        while not all(path.exists() for path in self._all):
            pause.wait(0.05)


def main(directory, steps, fail=""):
    directory, steps = pathlib.Path(directory), int(steps)
    config = estimators.RunConfig(
        str(directory / "model"),
        save_checkpoints_secs=None,
        save_checkpoints_steps=50,
        log_step_count_steps=None,
    )
    worker = config.global_id_in_cluster

    def input_fn():
        return tf.data.Dataset.from_generator(
            lambda: batches(worker, steps),
            output_signature=(
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.float32),
            ),
        )

    params = {"fail": bool(fail)}
    estimators.train_and_evaluate(
        estimators.Estimator(model_fn, config=config, params=params),
        estimators.TrainSpec(input_fn, hooks=[Count(directory, config, steps)]),
        estimators.EvalSpec(input_fn),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
