"""Ids of strings, packed and crossed ids, and the shard that owns an id."""

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
from monolith_tf.placement import sharding
from monolith_tf.placement.sharding import owners_of
from monolith_tf.stock_ops import hashing

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def test_from_strings_is_stable():
    # FarmHash Fingerprint64 of the bytes, as tf.fingerprint has it.
    found = mt.ids.from_strings(tf.constant(["a", "movie", ""]))
    assert found.numpy().tolist() == [
        -5528939962900187677,
        6863965781205323345,
        -7286425919675154353,
    ]


def test_from_strings_keeps_every_shape():
    strings = tf.constant([["a", "b"], ["c", "a"]])
    found = mt.ids.from_strings(strings)
    assert found.shape == [2, 2]
    assert found[0, 0] == found[1, 1]
    ragged = mt.ids.from_strings(tf.ragged.constant([["a"], [], ["b", "a"]]))
    assert ragged.row_lengths().numpy().tolist() == [1, 0, 2]
    sparse = mt.ids.from_strings(tf.sparse.from_dense([["a", ""]]))
    assert sparse.values.dtype == tf.int64
    assert mt.ids.from_strings(tf.zeros([0], tf.string)).shape == [0]


def test_from_strings_refuses_numbers():
    with pytest.raises(TypeError, match="needs strings.*int32"):
        mt.ids.from_strings(tf.constant([1]))


def test_pack_puts_the_feature_above_the_id():
    packed = mt.ids.pack(3, tf.constant([0, 5, (1 << 48) - 1], tf.int64))
    assert packed.numpy().tolist() == [
        3 << 48,
        (3 << 48) + 5,
        (4 << 48) - 1,
    ]
    assert mt.ids.pack(32767, tf.constant([5], tf.int64)).numpy()[0] > 0


def test_pack_takes_ragged_and_sparse():
    ragged = mt.ids.pack(1, tf.ragged.constant([[1], [2, 3]], dtype=tf.int64))
    assert ragged.flat_values.numpy().tolist() == [
        (1 << 48) + i for i in (1, 2, 3)
    ]
    sparse = mt.ids.pack(1, tf.sparse.from_dense(tf.constant([[0, 2]])))
    assert sparse.values.numpy().tolist() == [(1 << 48) + 2]


@pytest.mark.parametrize("id", [-1, 1 << 48, -(1 << 63)])
def test_pack_refuses_an_id_that_does_not_fit(id):
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
        mt.ids.pack(1, tf.constant([5, id], tf.int64))
    packed = tf.function(lambda ids: mt.ids.pack(1, ids))
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 2"):
        packed(tf.constant([5, id], tf.int64))


@pytest.mark.parametrize("number", [-1, 1 << 15])
def test_pack_refuses_a_feature_number_that_does_not_fit(number):
    with pytest.raises(ValueError, match="from 0 to 32767"):
        mt.ids.pack(number, tf.constant([5], tf.int64))


def test_pack_refuses_floats():
    with pytest.raises(TypeError, match="int64 ids.*float32"):
        mt.ids.pack(1, tf.constant([5.0]))


def test_owner_splits_partitions_evenly():
    for num_shards in (1, 2, 3, 7, 4096):
        found = [sharding.owner(p, num_shards) for p in range(4096)]
        assert found == sorted(found)
        sizes = np.bincount(found, minlength=num_shards)
        assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("num_shards", [1, 2, 3, 5, 63, 64, 65, 4096])
def test_groups_of_all_shards_cover_every_partition(num_shards):
    for shard in range(num_shards):
        groups = sharding.groups_of_shard(shard, num_shards)
        mine = {
            p >> 6
            for p in range(4096)
            if sharding.owner(p, num_shards) == shard
        }
        assert set(groups) == mine


@pytest.mark.parametrize("num_shards", [1, 2, 3, 17])
def test_ops_python_and_stock_ops_agree_on_owners_of(num_shards):
    random = np.random.default_rng(0)
    ids = random.integers(-(1 << 63), (1 << 63) - 1, 500)
    expected = [
        sharding.owner(sharding.partition(int(id)), num_shards) for id in ids
    ]
    assert owners_of(tf.constant(ids), num_shards).numpy().tolist() == expected
    packed, _ = mt.ops.partition(
        [mt.ops.FeatureBatch(tf.constant(ids))], num_shards=num_shards
    )
    for shard, part in enumerate(packed):
        mine = [id for id, o in zip(ids, expected, strict=True) if o == shard]
        assert part.numpy()[1:].tolist() == mine


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


@pytest.mark.slow
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


@pytest.mark.slow
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
