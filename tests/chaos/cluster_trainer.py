"""A chief of the chaos runs: adds to rows on parameter servers, exactly.

    monolith-tf launch ... cluster_trainer.py FOLDER SEED

Each round schedules steps of known sums on the workers, reads all rows, and
saves a checkpoint; its history is FOLDER/history. A restarted chief goes on
after the last saved round. The end comes with a file FOLDER/may_end.
"""

from __future__ import annotations

import os
import pathlib
import sys

import history as history_lib
import numpy as np
import tensorflow as tf
import tf_keras

import monolith_tf as mt

STEPS = 20
NUM_IDS = 60


class Rounds:
    """The steps of each round, and the rows that they make.

    Args:
        seed: Seed of all steps.
    """

    def __init__(self, seed: int):
        """Draws nothing yet."""
        self._seed = seed

    def steps(self, number: int):
        """Yields ids and what to add to each, of one round."""
        random = np.random.default_rng([self._seed, number])
        for _ in range(STEPS):
            length = int(random.integers(1, 100))
            ids = random.integers(0, NUM_IDS, length)
            # Multiples of a power of two: sums are exact in any order.
            yield ids, random.integers(1, 5, length) / np.float32(8)

    def rows(self, number: int) -> np.ndarray:
        """Returns the rows after a round, as if from nothing."""
        rows = np.zeros(NUM_IDS, np.float32)
        for before in range(number + 1):
            for ids, added in self.steps(before):
                np.add.at(rows, ids, added.astype(np.float32))
        return rows


class Chief:
    """Trains rounds and records them.

    Args:
        folder: Folder of the job.
        seed: Seed of the steps.
    """

    def __init__(self, folder: pathlib.Path, seed: int):
        """Connects, and restores the last checkpoint."""
        self._folder = folder
        self._rounds = Rounds(seed)
        self._history = history_lib.Recorder(folder / "history")
        self._instance = str(os.getpid())
        strategy = mt.cluster.parameter_server_strategy()
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(
            strategy
        )
        with strategy.scope():
            config = mt.TableConfig(
                "exact",
                dim=1,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Zeros(),
            )
            inputs = tf_keras.Input([], dtype="int64")
            layer = mt.layers.DynamicEmbedding(config)
            model = tf_keras.Model(inputs, layer(inputs))
            model.compile(mt.optimizers.with_tables("sgd"), "mse")
            model.optimizer.build(model.trainable_variables)
        self._table = layer.table
        self._checkpoints = mt.callbacks.Checkpoints(
            model, folder / "checkpoints"
        )
        self.first_round = self._checkpoints.restore()
        name = str(self.first_round) if self.first_round else ""
        self._history.record("restored", snapshot=name)
        variable = self._table.trainable_variables[0]

        @tf.function(
            input_signature=[
                tf.TensorSpec([], tf.int64),
                tf.TensorSpec([None], tf.int64),
                tf.TensorSpec([None], tf.float32),
            ]
        )
        def step(number, ids, added):
            def replica(number, ids, added):
                with tf.GradientTape() as tape:
                    rows = self._table.lookup(ids)[:, 0]
                    loss = -tf.reduce_sum(rows * added)
                gradient = tape.gradient(loss, variable)
                with mt.request_id(number):
                    model.optimizer.apply_gradients([(gradient, variable)])
                return loss

            return strategy.run(replica, args=(number, ids, added))

        self._step = step

    def round(self, number: int) -> None:
        """Trains one round, reads its rows and saves them."""
        expected = self._rounds.rows(number).tolist()
        begin = self._history.clock()
        self._record("attempted", begin, expected)
        for index, (ids, added) in enumerate(self._rounds.steps(number)):
            self._coordinator.schedule(
                self._step,
                args=(
                    tf.constant(number * STEPS + index, tf.int64),
                    tf.constant(ids),
                    tf.constant(added, tf.float32),
                ),
            )
        self._coordinator.join()
        self._record("applied", begin, expected)
        self._history.record("delivered", instance=self._instance)
        begin = self._history.clock()
        ids = tf.range(NUM_IDS, dtype=tf.int64)
        found = self._table.lookup(ids).numpy()[:, 0].tolist()
        self._record("served", begin, found)
        self._history.record("snapshotted", snapshot=str(number + 1))
        self._checkpoints.save(number + 1)
        print(f"round {number + 1} done", flush=True)

    def _record(self, kind: str, begin: float, rows: list[float]) -> None:
        end = self._history.clock()
        self._history.append(
            history_lib.Event(
                kind,
                begin,
                end,
                table="exact",
                id=one,
                value=value,
                instance=self._instance if kind == "served" else "",
            )
            for one, value in enumerate(rows)
        )


def main() -> None:
    """Trains until it may end."""
    folder, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    with mt.cluster.exit_for_restart():
        chief = Chief(folder, seed)
        number = chief.first_round
        while not (folder / "may_end").exists():
            chief.round(number)
            number += 1


if __name__ == "__main__":
    main()
    # TensorFlow's coordinator may wait forever at the end of the interpreter
    # for its thread that waits for a worker that was killed.
    sys.stdout.flush()
    os._exit(0)
