"""Fixtures that the oracles of row optimizers share."""

from __future__ import annotations

import math

import numpy as np
import pytest

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows

NUM_IDS = 16
DIM = 5


class Drawing:
    """Random hyper-parameters, never the defaults, of at most 5 digits.

    Both sides then take the same decimal: the core has float32.
    """

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)

    def uniform(self, low=0.0, high=1.0):
        return self._rounded(self.random.uniform(low, high))

    def scale(self, low, high):
        """Log-uniform."""
        power = self.random.uniform(math.log(low), math.log(high))
        return self._rounded(math.exp(power))

    @staticmethod
    def _rounded(value):
        return float(f"{value:.5g}")


class SteppedTable:
    """A table of 16 rows that are all there, and random steps on them."""

    def __init__(self, optimizer, random, num_rows=7):
        self.random = random
        self.num_rows = num_rows
        # Of a set of its own: the tests make many tables of one name.
        with mt.TableSet(num_shards=2):
            self.table = mt.Table(
                mt.TableConfig(
                    "oracle",
                    dim=DIM,
                    optimizer=optimizer,
                    initializer=mt.initializers.RandomUniform(-1.0, 1.0),
                )
            )
        self.initial_rows = self.table.lookup(np.arange(NUM_IDS)).numpy()

    def steps(self, num_steps):
        """Steps the table; yields step from 0, ids and their gradients."""
        for step in range(num_steps):
            ids = self.random.permutation(NUM_IDS)[: self.num_rows]
            size = 10.0 ** self.random.uniform(-2, 0.7)
            gradients = self.random.normal(size=[len(ids), DIM]) * size
            gradients *= self.random.uniform(size=gradients.shape) < 0.8
            gradients = gradients.astype(np.float32)
            self.table.apply_gradients(ids, gradients)
            yield step, ids, gradients

    def whole_rows(self):
        """Weights and slots, [16, row_width], of ids 0 to 15."""
        parts = list(export_rows(self.table))
        ids = np.concatenate([part[0] for part in parts])
        rows = np.concatenate([part[2] for part in parts])
        assert sorted(ids) == list(range(NUM_IDS))
        return rows[np.argsort(ids)]


@pytest.fixture
def drawing():
    return Drawing


@pytest.fixture
def stepped_table():
    return SteppedTable
