"""One id for a combination of ids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import monolith_tf as mt
from monolith_tf.stock_ops import hashing

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def crossed(salt, ids):
    """The formula of docs/formats.md on Python integers."""
    state = hashing.mix64(salt + len(ids) * hashing.GOLDEN_GAMMA)
    for id in ids:
        state = hashing.mix64(state + id)
    return state - (1 << 64) if state >> 63 else state


def ids_of(values):
    return tf.constant(values, tf.int64)


def ragged(lists):
    return tf.ragged.constant(lists, tf.int64, ragged_rank=1)


def test_one_id_an_example_gives_one():
    found = mt.ids.cross([ids_of([1, -1]), ids_of([3, 0])])
    assert found.shape == [2]
    assert found.dtype == tf.int64
    assert found.numpy().tolist() == [crossed(0, (1, 3)), crossed(0, (-1, 0))]


def test_the_order_of_the_inputs_and_the_salt_count():
    one, three = ids_of([1]), ids_of([3])
    found = {
        int(mt.ids.cross([one, three])[0]),
        int(mt.ids.cross([three, one])[0]),
        int(mt.ids.cross([one, three], salt=1)[0]),
        int(mt.ids.cross([one, three, ids_of([0])])[0]),
    }
    assert len(found) == 4


def test_dense_lists_give_the_product_in_order():
    found = mt.ids.cross([ids_of([[1, 2]]), ids_of([[3, 4, 5]]), ids_of([6])])
    product = itertools.product([1, 2], [3, 4, 5], [6])
    assert found.shape == [1, 6]
    assert found.numpy().tolist() == [[crossed(0, ids) for ids in product]]


def test_combinations_with_padding_are_padding():
    found = mt.ids.cross(
        [ids_of([[1, 0], [0, 0]]), ids_of([5, 6])], padding_id=0
    )
    assert found.numpy().tolist() == [[crossed(0, (1, 5)), 0], [0, 0]]
    found = mt.ids.cross(
        [ragged([[1, 0], []]), ids_of([[5, 0], [6, 0]])], padding_id=0
    )
    assert found.to_list() == [[crossed(0, (1, 5)), 0, 0, 0], []]


def test_sparse_inputs_hold_no_id_where_a_cell_is_left_out():
    sparse = tf.sparse.from_dense(ids_of([[7, 0, 8], [0, 0, 0]]))
    found = mt.ids.cross([sparse, ids_of([1, 2])])
    assert found.to_list() == [[crossed(0, (7, 1)), crossed(0, (8, 1))], []]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(*[st.lists(INT64, max_size=3)] * 3), min_size=1, max_size=4
    ),
    st.integers(0, (1 << 63) - 1),
)
def test_ragged_inputs_give_the_product_of_each_example(examples, salt):
    inputs = [ragged([example[i] for example in examples]) for i in range(3)]
    found = mt.ids.cross(inputs, salt=salt)
    assert found.to_list() == [
        [crossed(salt, ids) for ids in itertools.product(*example)]
        for example in examples
    ]


@pytest.mark.parametrize("shape", [[None], [None, 2], [None, None]])
def test_a_function_of_unknown_sizes_gives_the_same(shape):
    spec = tf.TensorSpec(shape, tf.int64)
    function = tf.function(
        lambda a, b: mt.ids.cross([a, b], padding_id=0),
        input_signature=[spec, spec],
    )
    values = np.array([[1, 2], [0, 4]]) if len(shape) == 2 else np.array([1, 0])
    expected = mt.ids.cross([ids_of(values)] * 2, padding_id=0)
    found = function(ids_of(values), ids_of(values))
    assert found.numpy().tolist() == expected.numpy().tolist()


def test_inputs_without_ids_have_no_combinations():
    found = mt.ids.cross([tf.zeros([2, 0], tf.int64), ids_of([[1], [2]])])
    assert found.shape == [2, 0]
    spec = tf.TensorSpec([None, 0], tf.int64)
    function = tf.function(
        lambda ids: mt.ids.cross([ids, ids]), input_signature=[spec]
    )
    assert function(tf.zeros([3, 0], tf.int64)).shape == [3, 0]


def test_crosses_train_and_are_served_by_stock_ops(tmp_path):
    user = tf_keras.Input([], dtype="int64", name="user")
    genres = tf_keras.Input([2], dtype="int64", name="genres")
    cross = tf_keras.layers.Lambda(
        lambda inputs: mt.ids.cross(inputs, padding_id=0)
    )([user, genres])
    config = mt.TableConfig(
        "user_genre",
        dim=1,
        optimizer=mt.optimizers.SGD(0.5),
        initializer=mt.initializers.Zeros(),
    )
    layer = mt.layers.EmbeddingCollection(
        [mt.FeatureConfig("cross", config, combiner="sum", padding_id=0)]
    )
    model = tf_keras.Model([user, genres], layer({"cross": cross})["cross"])
    model.compile(mt.optimizers.with_tables("sgd"), lambda _, y: y)
    data = {"user": ids_of([7, 8]), "genres": ids_of([[1, 0], [1, 2]])}
    model.fit(data, tf.zeros([2, 1]), batch_size=2, verbose=0)
    assert layer.tables[0].size() == 3
    assert model.predict(data, verbose=0).ravel().tolist() == [-0.25, -0.5]
    exported = mt.serving.export_saved_model(model, tmp_path)
    served = tf.saved_model.load(exported).signatures["serving_default"]
    (answer,) = served(**data).values()
    assert answer.numpy().ravel().tolist() == [-0.25, -0.5]
    graph = served.graph.as_graph_def()
    parts = [graph.node, *(part.node_def for part in graph.library.function)]
    ops = {node.op for part in parts for node in part}
    assert "BitwiseXor" in ops
    assert not any(op.startswith("Monolith") for op in ops)


def test_batches_of_different_sizes_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="same batch"):
        mt.ids.cross([ids_of([1, 2]), ids_of([1])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="same batch"):
        mt.ids.cross([ragged([[1], [2]]), ids_of([1])])


def test_what_is_no_cross_is_refused():
    with pytest.raises(ValueError, match="two or more inputs. Received: 1"):
        mt.ids.cross([ids_of([1])])
    with pytest.raises(TypeError, match="float32 for input 1.*from_strings"):
        mt.ids.cross([ids_of([1]), tf.constant([1.0])])
    with pytest.raises(ValueError, match="shape .* for input 0"):
        mt.ids.cross([tf.zeros([1, 1, 1], tf.int64), ids_of([1])])
    with pytest.raises(ValueError, match="salt of ids.cross must be in"):
        mt.ids.cross([ids_of([1]), ids_of([1])], salt=-1)
    with pytest.raises(TypeError, match="padding_id of ids.cross.*'a'"):
        mt.ids.cross([ids_of([1]), ids_of([1])], padding_id="a")
