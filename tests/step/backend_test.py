"""A backend that stands in: stock ops give what the ops of the library give."""

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.step.backend import StockBackend
from monolith_tf.step.backend import lookup_backend

NUM_IDS = 9

FEATURES = {
    "single": {},
    "padded": {"padding_id": 0},
    "sum": {"combiner": "sum"},
    "mean": {"combiner": "mean", "padding_id": 0},
    "sqrtn": {"combiner": "sqrtn"},
    "first_n": {
        "combiner": "first_n",
        "max_sequence_length": 2,
        "padding_id": 3,
    },
}


class Rows(StockBackend):
    """Reads the rows 0 to NUM_IDS - 1 of tables as they were when made."""

    def __init__(self, tables):
        self._rows = {
            table.name: table.lookup(np.arange(NUM_IDS)).numpy()
            for table in tables
        }

    def lookup(self, table, ids):
        return tf.gather(tf.constant(self._rows[table.name]), ids)


def make_layer():
    with mt.TableSet():
        configs = [mt.TableConfig("a", dim=2), mt.TableConfig("b", dim=5)]
        return mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig(name, configs[number % 2], **feature)
                for number, (name, feature) in enumerate(FEATURES.items())
            ]
        )


def inputs_of(kind, random):
    ids = random.integers(0, NUM_IDS, [4, 5])
    weights = random.random([4, 5]).astype(np.float32)
    if kind == "dense":
        return tf.constant(ids), tf.constant(weights)
    ids = tf.RaggedTensor.from_tensor(ids, lengths=[5, 0, 2, 0])
    weights = ids.with_flat_values(tf.constant(weights.ravel()[:7]))
    if kind == "ragged":
        return ids, weights
    return ids.to_sparse(), weights.to_sparse()


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["dense", "ragged", "sparse"])
def test_stock_ops_give_the_same_bits(kind, weighted):
    random = np.random.default_rng(0)
    layer = make_layer()
    ids, weights = inputs_of(kind, random)
    inputs = {name: ids for name in FEATURES}
    weights = {name: weights for name in FEATURES} if weighted else None
    expected = layer(inputs, weights=weights)
    rows = Rows(layer.tables)

    @tf.function
    def read(inputs, weights):
        with lookup_backend(rows):
            return layer(inputs, weights=weights)

    got = read(inputs, weights)
    for name, vectors in expected.items():
        assert type(got[name]) is type(vectors)
        for ours, theirs in zip(
            tf.nest.flatten(got[name], expand_composites=True),
            tf.nest.flatten(vectors, expand_composites=True),
        ):
            np.testing.assert_array_equal(ours, theirs)
    graph = read.get_concrete_function(inputs, weights).graph
    assert not [op for op in graph.get_operations() if "Monolith" in op.type]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [[6], [2, 3], [2, 1, 3], [0], [2, 0]])
def test_ids_of_unknown_rank_give_the_same(shape):
    layer = make_layer()
    rows = Rows(layer.tables)

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
    def read(ids):
        with lookup_backend(rows):
            return layer(dict.fromkeys(FEATURES, ids))

    size = int(np.prod(shape))
    ids = tf.reshape(tf.range(size, dtype=tf.int64), shape)
    expected = layer(dict.fromkeys(FEATURES, ids))
    for name, vectors in read(ids).items():
        np.testing.assert_array_equal(vectors, expected[name], name)
