"""Random operation sequences on a table against a dict and NumPy."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.stock_ops.initial_rows import initial_rows

DIM = 3
IDS = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 40, -(1 << 40)]),
)
ROW = st.lists(
    st.integers(-8, 8).map(lambda n: n / 4), min_size=DIM, max_size=DIM
)
PAIRS = st.lists(st.tuples(IDS, ROW), max_size=8)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), PAIRS),
        st.tuples(st.just("assign"), PAIRS),
        st.tuples(st.just("remove"), st.lists(IDS, max_size=8)),
        st.tuples(st.just("lookup"), st.lists(IDS, max_size=8)),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=25,
)


class Oracle:
    """A dict of rows and slots, and the tf.keras formulas in NumPy."""

    def __init__(self, config):
        self.config = config
        self.rows = {}
        self.steps = 0

    def initial(self, id):
        ids = tf.constant([id], tf.int64)
        return initial_rows(self.config, ids).numpy()[0]

    def new(self, id):
        optimizer = self.config.optimizer
        if optimizer.kind == "adagrad":
            start = optimizer.initial_accumulator_value
            slots = [np.full(DIM, start, np.float32)]
        else:
            slots = [np.zeros(DIM, np.float32) for _ in optimizer.slot_names]
        return [self.initial(id), *slots]

    def lookup(self, ids):
        return [
            self.rows[id][0] if id in self.rows else self.initial(id)
            for id in ids
        ]

    def apply(self, pairs):
        sums = {}
        for id, gradient in pairs:
            sums[id] = sums.get(id, 0) + np.array(gradient, np.float32)
        self.steps += 1
        for id, gradient in sums.items():
            row = self.rows.setdefault(id, self.new(id))
            getattr(self, self.config.optimizer.kind)(row, gradient)

    def sgd(self, row, gradient):
        row[0] = row[0] - np.float32(0.25) * gradient

    def adagrad(self, row, gradient):
        row[1] = row[1] + gradient * gradient
        row[0] = row[0] - np.float32(0.25) * gradient / np.sqrt(
            row[1] + np.float32(1e-7)
        )

    def adam(self, row, gradient):
        rate = 0.25 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        row[1] = row[1] + (gradient - row[1]) * np.float32(0.1)
        row[2] = row[2] + (gradient**2 - row[2]) * np.float32(0.001)
        row[0] = row[0] - np.float32(rate) * row[1] / (np.sqrt(row[2]) + 1e-7)

    def assign(self, pairs):
        for id, values in pairs:
            row = self.rows.setdefault(id, self.new(id))
            row[0] = np.array(values, np.float32)


OPTIMIZERS = [
    mt.optimizers.SGD(0.25),
    mt.optimizers.Adagrad(0.25),
    mt.optimizers.Adam(0.25),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.kind)
@hypothesis.settings(max_examples=25)
@hypothesis.given(operations=OPERATIONS, num_shards=st.integers(1, 3))
def test_random_operations_match_the_oracle(optimizer, operations, num_shards):
    config = mt.TableConfig("oracle", dim=DIM, optimizer=optimizer, seed=3)
    with mt.TableSet(num_shards=num_shards):
        table = mt.Table(config)
    oracle = Oracle(config)
    for name, argument in operations:
        if name == "apply":
            table.apply_gradients(*columns(argument))
            oracle.apply(argument)
        elif name == "assign":
            table.assign(*columns(argument))
            oracle.assign(argument)
        elif name == "remove":
            there = {id for id in argument if id in oracle.rows}
            assert table.remove(int64(argument)) == len(there)
            for id in there:
                del oracle.rows[id]
        elif name == "lookup":
            np.testing.assert_allclose(
                table.lookup(int64(argument)),
                np.array(oracle.lookup(argument)).reshape(-1, DIM),
                atol=1e-5,
            )
        else:
            table.clear()
            oracle.rows.clear()
    found = {
        int(id): row
        for ids, _, rows in export_rows(table, batch_size=3)
        for id, row in zip(ids, rows, strict=True)
    }
    assert found.keys() == oracle.rows.keys()
    assert table.size() == len(found)
    for id, row in found.items():
        np.testing.assert_allclose(
            row, np.concatenate(oracle.rows[id]), atol=1e-5
        )


def int64(values):
    return np.array(values, np.int64)


def columns(pairs):
    ids = int64([id for id, _ in pairs])
    rows = np.array([row for _, row in pairs], np.float32).reshape(-1, DIM)
    return ids, rows


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.kind)
def test_results_do_not_depend_on_the_number_of_shards(optimizer):
    results = []
    for num_shards in (1, 3):
        random = np.random.default_rng(2)
        with mt.TableSet(num_shards=num_shards):
            table = mt.Table(
                mt.TableConfig("same", dim=4, optimizer=optimizer, seed=9)
            )
        first = table.lookup(np.arange(-50, 50)).numpy()
        for _ in range(20):
            batch = random.integers(-50, 50, 30)
            gradients = random.normal(size=[30, 4]).astype(np.float32)
            table.apply_gradients(batch, gradients, event_time=5)
        results.append((first, table.lookup(np.arange(-50, 50)).numpy()))
    for first, last in results[1:]:
        np.testing.assert_array_equal(first, results[0][0])
        np.testing.assert_array_equal(last, results[0][1])
