"""A model with two tables whose rows tests compare bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt


class SmallModel:
    """Two tables and a dense variable, with random updates.

    Args:
        num_shards: Number of shards of the tables.
        seed: Seed of the updates.
    """

    def __init__(self, num_shards=1, seed=0):
        self.table_set = mt.TableSet(num_shards=num_shards)
        with self.table_set:
            self.movie = mt.Table(
                mt.TableConfig(
                    "movie",
                    dim=3,
                    optimizer=mt.optimizers.Adagrad(0.1),
                    admission=mt.Admission(min_count=2),
                )
            )
            self.user = mt.Table(
                mt.TableConfig("user", dim=2, tracks_changes=False)
            )
        self.weight = tf.Variable(0.0)
        self.root = tf.train.Checkpoint(
            movie=self.movie, user=self.user, weight=self.weight
        )
        self._random = np.random.default_rng(seed)

    def train(self, steps=1):
        """Makes random steps, and removes some rows."""
        for _ in range(steps):
            for table in (self.movie, self.user):
                ids = self._random.integers(-200, 200, 60)
                gradients = self._random.normal(size=(60, table.dim))
                table.apply_gradients(
                    ids, tf.constant(gradients, tf.float32), event_time=1000
                )
                table.remove(self._random.integers(-200, 200, 5))
            self.weight.assign_add(1.0)

    def state(self):
        """Everything that a snapshot holds, in Python values."""
        found = {"weight": float(self.weight)}
        for table in (self.movie, self.user):
            rows = {}
            for ids, batch in table.export():
                rows.update(zip(ids.tolist(), batch.tolist(), strict=True))
            found[table.name] = dict(sorted(rows.items()))
        return found


@pytest.fixture
def make_model():
    """Makes models; each has tables of its own."""
    return SmallModel
