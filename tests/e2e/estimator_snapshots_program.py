"""A task of an Estimator that takes snapshots, until DIRECTORY/stop is there.

python estimator_snapshots_program.py DIRECTORY

Every step reads every row. A row, the variable "weight" and the global step
count the steps. The chief prints at which step a session begins, and every 20
steps.
"""

import pathlib
import sys
import threading

import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
IDS = 64
PRINT_STEPS = 20


def table_config():
    """Rows that count the steps downwards."""
    return mt.TableConfig(
        "id",
        1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
    )


def model_fn(features, labels, mode):
    """Moves the weight and every row by 1."""
    rows = mt.layers.DynamicEmbedding(table_config())(features)
    weight = v1.get_variable("weight", [], initializer=v1.zeros_initializer())
    loss = tf.reduce_sum(rows) + weight
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(1.0, use_locking=True)
    )
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


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

    def after_create_session(self, session, coord):
        step = int(session.run(v1.train.get_global_step()))
        if self._config.is_chief:
            print(f"begins at {step}", flush=True)

    def before_run(self, run_context):
        return v1.train.SessionRunArgs(v1.train.get_global_step())

    def after_run(self, run_context, run_values):
        step = int(run_values.results)
        if self._config.is_chief and step - self._printed >= PRINT_STEPS:
            self._printed = step
            print(f"step {step}", flush=True)
        # Leaves the processors to those that start.
        self._pause.wait(0.002)
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
    directory = pathlib.Path(sys.argv[1])
    config = estimators.RunConfig(
        str(directory / "model"),
        # Snapshots alone bring the state back.
        save_checkpoints_secs=None,
        save_summary_steps=0,
        log_step_count_steps=None,
        snapshots=estimators.SnapshotConfig(
            directory / "snapshots",
            every_seconds=0.2,
            full_every=4,
            keep=1000,
            pause_seconds=600.0,
        ),
    )

    def input_fn():
        ids = tf.range(IDS, dtype=tf.int64) * 2**57
        return tf.data.Dataset.from_tensors((ids, 0.0)).repeat()

    estimators.train_and_evaluate(
        estimators.Estimator(model_fn, config=config),
        estimators.TrainSpec(input_fn, hooks=[Stop(directory, config)]),
        estimators.EvalSpec(input_fn),
    )


if __name__ == "__main__":
    main()
