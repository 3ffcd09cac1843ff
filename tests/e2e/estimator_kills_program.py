"""A task of an Estimator that trains until DIRECTORY/stop is there.

python estimator_kills_program.py DIRECTORY PORT

The chief pushes deltas to a model server at PORT, and prints its steps.
"""

import pathlib
import sys
import threading

import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
DIM = 2
NUM_IDS = 300
SAVE_STEPS = 40
PRINT_STEPS = 20


def make_dataset(worker):
    """Ids, and gradients that are powers of two, without an end."""

    def batch(number):
        seed = tf.stack([tf.constant(worker, tf.int64), number])
        ids = tf.random.stateless_uniform([50], seed, 0, NUM_IDS, tf.int64)
        power = tf.random.stateless_uniform([50], seed, -3, 3, tf.int32)
        return {"movie": ids * 2**50}, 2.0 ** tf.cast(power, tf.float32)

    return tf.data.Dataset.range(10**9).map(batch)


def table_config():
    """Rows that are sums."""
    return mt.TableConfig(
        "movie",
        DIM,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


def model_fn(features, labels, mode):
    """Rows go down by the labels, and the bias by one per step."""
    rows = mt.layers.DynamicEmbedding(table_config())(features["movie"])
    bias = v1.get_variable("bias", [], initializer=v1.zeros_initializer())
    if mode == estimators.ModeKeys.PREDICT:
        predictions = {"rows": rows, "bias": bias + tf.zeros_like(rows[:, 0])}
        return estimators.EstimatorSpec(mode, predictions=predictions)
    loss = tf.reduce_sum(rows * labels[:, None]) + bias
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(1.0, use_locking=True)
    )
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


def receiver():
    """Returns the contents of a request."""
    return estimators.export.build_raw_serving_input_receiver_fn(
        {"movie": tf.TensorSpec([None], tf.int64)}
    )()


class Stop(v1.train.SessionRunHook):
    """Stops at the sign; the chief when all workers have."""

    def __init__(self, directory, config):
        self._sign = directory / "stop"
        self._config = config
        self._done = [
            directory / f"done-{worker}"
            for worker in range(1, config.num_worker_replicas)
        ]
        self._printed = 0
        self._pause = threading.Event()

    def before_run(self, run_context):
        return v1.train.SessionRunArgs(v1.train.get_global_step())

    def after_run(self, run_context, run_values):
        # Leaves the processors to those that start.
        self._pause.wait(0.02)
        step = int(run_values.results)
        if self._config.is_chief and abs(step - self._printed) >= PRINT_STEPS:
            self._printed = step
            print(f"step {step}", flush=True)
        if not self._sign.exists():
            return
        if self._config.is_chief:
            while not all(path.exists() for path in self._done):
                self._pause.wait(0.05)
        run_context.request_stop()

    def end(self, session):
        if not self._config.is_chief:
            self._done[self._config.global_id_in_cluster - 1].touch()


def main():
    """Trains as the task that TF_CONFIG names."""
    directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    config = estimators.RunConfig(
        str(directory / "model"),
        save_checkpoints_steps=SAVE_STEPS,
        checkpoint_save_graph_def=False,
        keep_checkpoint_max=None,  # The test reads them meanwhile.
        log_step_count_steps=None,
    )
    estimator = estimators.Estimator(model_fn, config=config)
    push = estimators.DeltaPushHook(
        estimator,
        f"127.0.0.1:{port}",
        "ranker",
        directory / "log",
        directory / "versions",
        receiver,
        interval_seconds=0.2,
    )

    def input_fn():
        return make_dataset(config.global_id_in_cluster)

    estimators.train_and_evaluate(
        estimator,
        estimators.TrainSpec(input_fn, hooks=[push, Stop(directory, config)]),
        estimators.EvalSpec(input_fn),
    )


if __name__ == "__main__":
    main()
