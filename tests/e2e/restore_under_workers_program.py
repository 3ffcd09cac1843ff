"""A task of an Estimator whose chief is restarted under a running worker.

python restore_under_workers_program.py DIRECTORY

`TF_CONFIG` says which task. A row has two columns. The first is 1024 until the
row is trained once, and at most 1 from then on. The second counts the steps, as
the variable "steps" does. The variable "untrained" counts the steps that read a
row that is not trained.

A worker writes a line for each step to DIRECTORY/seen-<worker>-<process>: 1 if
it read such a row, else 0. The training ends at DIRECTORY/stop.
"""

import os
import pathlib
import sys
import threading

import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
IDS = 64
INITIAL = 1024.0


def table_config():
    """Rows that say whether they are trained, and count the steps."""
    return mt.TableConfig(
        "movie",
        2,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Constant(INITIAL),
    )


def scalar(name):
    return v1.get_variable(name, [], initializer=v1.zeros_initializer())


def model_fn(features, labels, mode):
    """Builds the model that the module describes."""
    rows = mt.layers.DynamicEmbedding(table_config())(features)
    level, counts = rows[:, 0], rows[:, 1]
    is_initial = tf.stop_gradient(tf.cast(level > INITIAL / 2, tf.float32))
    found = tf.reduce_max(is_initial)
    loss = (
        tf.reduce_sum(level * is_initial * (INITIAL - 1.0))
        - tf.reduce_sum(counts)
        - scalar("untrained") * found
        - scalar("steps")
    )
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(1.0, use_locking=True)
    )
    directory = pathlib.Path(os.environ["DIRECTORY"])
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
        training_hooks=[Watch(directory, found)],
    )


class Watch(v1.train.SessionRunHook):
    """Writes down what each step read, and stops at the sign."""

    def __init__(self, directory, found):
        self._directory = directory
        self._found = found
        self._pause = threading.Event()

    def before_run(self, run_context):
        return v1.train.SessionRunArgs(self._found)

    def after_run(self, run_context, run_values):
        worker = os.environ["WORKER"]
        path = self._directory / f"seen-{worker}-{os.getpid()}"
        with open(path, "a") as file:
            file.write(f"{run_values.results:.0f}\n")
        # Leaves the processors to those that start.
        self._pause.wait(0.005)
        if not (self._directory / "stop").exists():
            return
        if worker == "0":  # The chief saves what the other has done.
            while not (self._directory / "done").exists():
                self._pause.wait(0.05)
        else:
            (self._directory / "done").touch()
        run_context.request_stop()


def main():
    """Trains as the task that TF_CONFIG names."""
    directory = pathlib.Path(sys.argv[1])
    config = estimators.RunConfig(
        str(directory / "model"),
        save_checkpoints_steps=20,
        checkpoint_save_graph_def=False,
        keep_checkpoint_max=None,
        log_step_count_steps=None,
    )
    os.environ["DIRECTORY"] = str(directory)
    os.environ["WORKER"] = str(config.global_id_in_cluster)

    def input_fn():
        ids = tf.range(IDS, dtype=tf.int64) * 2**50
        return tf.data.Dataset.from_tensors((ids, 0.0)).repeat()

    estimators.train_and_evaluate(
        estimators.Estimator(model_fn, config=config),
        estimators.TrainSpec(input_fn),
        estimators.EvalSpec(input_fn),
    )


if __name__ == "__main__":
    main()
