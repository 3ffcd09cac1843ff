"""Ids of strings, packed ids, and which shard owns an id."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement import sharding
from monolith_tf.placement.sharding import owners_of


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
