"""Trains the ranker on a cluster: in batch with `fit`, online by chunks."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras
from ranker import make_ranker

import monolith_tf as mt
from monolith_tf import data

_FEATURE_SPEC = {
    "user_id": tf.TensorSpec([None], tf.int64),
    "movie_id": tf.TensorSpec([None], tf.int64),
    "genres": tf.TensorSpec([None, None], tf.int64),
}
_LABEL_SPEC = tf.TensorSpec([None], tf.float32)
_STEPS_PER_EXECUTION = 4


class Trainer:
    """The chief: owns the model, schedules steps on the workers.

    Args:
        cluster: A running cluster.
        num_workers: How many steps a chunk is split into.
        seed: Seed of initial rows and weights.
    """

    def __init__(
        self, cluster: mt.cluster.LocalCluster, num_workers: int, seed: int
    ):
        """Connects to the cluster and creates the model on it."""
        self._cluster = cluster
        self._num_workers = num_workers
        self._strategy = tf.distribute.ParameterServerStrategy(
            cluster.cluster_resolver
        )
        with self._strategy.scope():
            self.model = make_ranker(seed=seed)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(
            self._strategy
        )
        self._train = tf.function(
            self._train_step, input_signature=[_FEATURE_SPEC, _LABEL_SPEC]
        )
        self._predict = tf.function(
            self._predict_step, input_signature=[_FEATURE_SPEC]
        )

    def fit(
        self,
        ratings: data.Ratings,
        epochs: int,
        batch_size: int,
        on_progress: Callable[[int], None],
    ) -> int:
        """Trains in batch, shuffled, with `Model.fit`.

        Args:
            ratings: What to train on.
            epochs: How many times as many examples as there are.
            batch_size: Examples a step.
            on_progress: Called with the number of examples done since the last
                call, about twenty times.

        Returns:
            The number of examples trained on.
        """

        def make_dataset(_):
            # Every worker creates a dataset, shuffled in its own order.
            dataset = tf.data.Dataset.from_tensor_slices(
                (ratings.features(), ratings.label)
            )
            return (
                dataset.shuffle(len(ratings))
                .repeat()
                .batch(batch_size)
                .prefetch(2)
            )

        num_steps = max(1, epochs * len(ratings) // batch_size)
        # One round of Keras is one update of the progress bar.
        round_steps = max(1, num_steps // 20)
        num_rounds = max(1, num_steps // round_steps)
        self.model.fit(
            tf_keras.utils.experimental.DatasetCreator(make_dataset),
            epochs=num_rounds,
            steps_per_epoch=round_steps,
            verbose=0,
            callbacks=[
                tf_keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda *_: on_progress(
                        round_steps * batch_size
                    )
                )
            ],
        )
        return num_rounds * round_steps * batch_size

    def train(self, ratings: data.Ratings) -> np.ndarray:
        """Trains on one chunk, one step per worker.

        Args:
            ratings: The chunk.

        Returns:
            float64 `[n]`, when the step of each example ended, in Unix seconds.
        """
        sizes = [
            len(part)
            for part in np.array_split(
                np.arange(len(ratings)), self._num_workers
            )
            if len(part)
        ]
        ends = np.cumsum(sizes)
        steps = [
            self._coordinator.schedule(
                self._train,
                (
                    ratings[end - size : end].features(),
                    ratings[end - size : end].label,
                ),
            )
            for size, end in zip(sizes, ends, strict=True)
        ]
        self._wait()
        return np.repeat([float(step.fetch()) for step in steps], sizes)

    def predict(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Returns the trainer's own predictions, float32 `[n]`."""
        predictions = self._coordinator.schedule(self._predict, (features,))
        self._wait()
        return predictions.fetch()

    def _wait(self) -> None:
        """Waits for all steps; the error names a server that died."""
        pause = threading.Event()
        while not self._coordinator.done():
            self._cluster.check()
            pause.wait(0.001)
        self._coordinator.join()

    def _train_step(self, features, label):
        def step(features, label):
            with tf.GradientTape() as tape:
                like = self.model(features, training=True)["like"]
                loss = tf_keras.losses.binary_crossentropy(
                    label[:, tf.newaxis], like
                )
                loss = tf.reduce_mean(loss)
            weights = self.model.trainable_variables
            gradients = tape.gradient(loss, weights)
            self.model.optimizer.apply_gradients(
                zip(gradients, weights, strict=True)
            )

        self._strategy.run(step, (features, label))
        # Stateful operations of a tf.function run in the order of its lines.
        return tf.timestamp()

    def _predict_step(self, features):
        return self._strategy.run(
            lambda: self.model(features, training=False)["like"][:, 0]
        )
