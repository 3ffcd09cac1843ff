"""Overrides of admission and time to live, in the ops on gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf import ops
from monolith_tf.config.feature_overrides import FeatureOverrides
from monolith_tf.ops import FeatureBatch
from monolith_tf.ops.library import library

STEP = {
    "global_step": tf.constant(3, tf.int64),
    "event_time": tf.constant(4, tf.int64),
    "learning_rates": tf.constant([0.5]),
}


IS_PROBABILITY = 1 << 47


class Encoded(int):
    """Stands in for overrides, and is what the op gets of them."""

    def encode(self):
        return int(self)


def int64(*values):
    return tf.constant(values, tf.int64)


def own(count, min_count):
    """An entry of the counts that `apply` takes."""
    return count + (min_count << 16)


def test_of_slices_with_min_counts_the_smallest_holds():
    packed, _ = ops.partition_gradients(
        **STEP,
        ids=[int64(7), int64(7, 5, 7, 6, 7)],
        gradients=[[[1.0]], np.ones([5, 1], np.float32)],
        overrides=[None, int64(3, 0, 2, 4, 9)],
        num_shards=1,
    )
    expected = [own(3, 2), 1, own(1, 4)]
    np.testing.assert_array_equal(
        packed[0], [3, 4, 1, 3, 7, 7, 5, 6, 1, *expected]
    )


@pytest.mark.parametrize("num_shards", [1, 3])
def test_of_features_with_min_counts_the_smallest_holds(num_shards):
    features = [
        FeatureBatch(int64(7, 5, 8), overrides=FeatureOverrides(3)),
        FeatureBatch(
            int64(7, 6, 0), overrides=FeatureOverrides(2), padding_id=0
        ),
        FeatureBatch(int64(5, 9)),
        FeatureBatch(int64(7)),
    ]
    tables = [1, 1, 1, 0]
    packed, positions = ops.partition(
        features, feature_tables=tables, num_shards=num_shards
    )
    out, _ = ops.combine_gradients(
        **STEP,
        packed=packed,
        gradients=[tf.ones([len(feature.ids), 1]) for feature in features],
        positions=positions,
        features=features,
        feature_tables=tables,
        num_tables=2,
        tables=[0, 1],
        dims=[1, 1],
    )
    found = [{}, {}]
    for shard in out:
        sizes, (ids, counts) = shard[2:4], np.split(shard[4:].numpy(), 2)
        for table, part in enumerate(np.split(range(len(ids)), sizes[:1])):
            found[table].update((ids[i], counts[i]) for i in part)
    assert found[0] == {7: 1}
    assert found[1] == {
        7: own(2, 2),
        5: own(2, 3),
        8: own(1, 3),
        6: own(1, 2),
        9: 1,
    }


def test_of_slices_with_probabilities_the_largest_holds_below_min_counts():
    rare, often = IS_PROBABILITY | 5, IS_PROBABILITY | 60 << 16 | 31 << 11
    packed, _ = ops.partition_gradients(
        **STEP,
        ids=[int64(7, 5, 7, 6, 5)],
        gradients=[np.ones([5, 1], np.float32)],
        overrides=[int64(rare, 9, often, rare, often)],
        num_shards=1,
    )
    words = np.asarray(packed[0][-3:])
    # The sign bit marks a probability.
    assert (words < 0).tolist() == [True, False, True]
    np.testing.assert_array_equal(words & 0xFFFF, [2, 2, 1])
    np.testing.assert_array_equal(words >> 16 & 0xFFFF, [31 << 11, 9, 5])
    np.testing.assert_array_equal(words >> 32 & 0x7FFFFFFF, [60, 60, 0])


@pytest.mark.parametrize(
    "overrides",
    [-1, IS_PROBABILITY | 31 << 11 | 1, 1 << 48, 1 << 62, -(1 << 63)],
)
def test_overrides_that_do_not_fit_are_refused(overrides):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="threshold a min_count to"
    ):
        ops.partition_gradients(
            **STEP,
            ids=[int64(7, 8)],
            gradients=[[[1.0], [1.0]]],
            overrides=[int64(2, overrides)],
            num_shards=1,
        )
    features = [FeatureBatch(int64(7), overrides=Encoded(overrides))]
    packed, positions = ops.partition(features, num_shards=1)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="threshold a min_count to"
    ):
        ops.combine_gradients(
            **STEP,
            packed=packed,
            gradients=[tf.ones([1, 1])],
            positions=positions,
            features=features,
            feature_tables=[0],
            num_tables=1,
            tables=[0],
            dims=[1],
        )


def test_overrides_of_another_number_are_refused():
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="must have the shape of ids"
    ):
        ops.partition_gradients(
            **STEP,
            ids=[int64(7, 8)],
            gradients=[[[1.0], [1.0]]],
            overrides=[int64(2)],
            num_shards=1,
        )


@pytest.mark.parametrize("tables", [[], [1], [-1]])
def test_overrides_of_tables_that_are_not_there_are_refused(tables):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="override_tables.*Received"
    ):
        library.monolith_partition_gradients(
            *STEP.values(),
            [int64(7)],
            [[[1.0]]],
            [int64(2)],
            num_shards=1,
            override_tables=tables,
        )
