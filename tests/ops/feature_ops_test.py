"""The ops on features: by hand, against NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from monolith_tf import ops
from monolith_tf.ops import FeatureBatch

COMBINERS = ["sum", "mean", "sqrtn", "first_n", None]
PADDING = 0


def int64(*values):
    return tf.constant(values, tf.int64)


def row_of(id_, dim):
    """A row that its id gives."""
    return np.sin(np.arange(1, dim + 1) * (id_ + 0.5)).astype(np.float32)


def read(features, feature_tables, dims, num_shards):
    """Partition, a lookup in NumPy, combine."""
    packed, positions = ops.partition(
        features, feature_tables=feature_tables, num_shards=num_shards
    )
    shard_rows = []
    for shard in packed:
        sizes, ids = np.split(shard.numpy(), [len(dims)])
        rows = []
        for table, part in enumerate(np.split(ids, np.cumsum(sizes)[:-1])):
            rows += [row_of(id_, dims[table]) for id_ in part]
        shard_rows.append(tf.concat([*rows, np.zeros(0, np.float32)], axis=0))
    vectors = ops.combine(
        packed,
        shard_rows,
        positions,
        features,
        feature_tables=feature_tables,
        dims=dims,
    )
    return packed, positions, vectors


def lists_of(feature):
    """The (id, weight, position) of each list, padding left out."""
    flat = feature.ids.numpy().reshape(-1)
    weights = np.ones(len(flat), np.float32)
    if feature.weights is not None:
        weights = feature.weights.numpy().reshape(-1)
    if feature.combiner is None:
        bounds = np.arange(len(flat) + 1)
    elif feature.splits is not None:
        bounds = feature.splits.numpy()
    else:
        shape = feature.ids.shape
        length = shape[-1] if len(shape) > 1 else 1
        num_lists = np.prod(shape[:-1] if len(shape) > 1 else shape)
        bounds = np.arange(int(num_lists) + 1) * length
    lists = []
    for begin, end in zip(bounds[:-1], bounds[1:]):
        kept = [
            (flat[i], weights[i], i)
            for i in range(begin, end)
            if feature.padding_id is None or flat[i] != feature.padding_id
        ]
        lists.append(
            kept[: feature.max_sequence_length]
            if feature.max_sequence_length
            else kept
        )
    return lists


def scale_of(feature, ids):
    weights = np.array([weight for _, weight, _ in ids], np.float32)
    total = {
        "mean": weights.sum(),
        "sqrtn": np.sqrt((weights**2).sum()),
    }.get(feature.combiner, 1.0)
    return 0.0 if total == 0 else 1 / total


def expected_vectors(feature, dim):
    vectors = []
    for ids in lists_of(feature):
        rows = [weight * row_of(id_, dim) for id_, weight, _ in ids]
        if feature.combiner == "first_n":
            rows += [np.zeros(dim)] * (feature.max_sequence_length - len(rows))
            vectors.append(np.stack(rows))
        else:
            vectors.append(
                np.sum([np.zeros(dim), *rows], 0) * scale_of(feature, ids)
            )
    return np.array(vectors)


def random_feature(random, combiner):
    """A feature with many duplicates, padding and empty lists."""
    padding_id = PADDING if random.random() < 0.5 else None
    n = 2 if combiner == "first_n" else 0
    if random.random() < 0.5:
        lengths = random.integers(0, 5, 6)
        ids = tf.constant(random.integers(0, 9, lengths.sum()))
        splits = tf.constant(np.concatenate([[0], np.cumsum(lengths)]))
    else:
        shape = [(6,), (6, 4), (3, 2, 4), (0, 3), (3, 0)][random.integers(5)]
        ids, splits = tf.constant(random.integers(0, 9, shape)), None
    weights = None
    if random.random() < 0.5:
        weights = tf.constant(random.random(ids.shape), tf.float32)
    return FeatureBatch(ids, splits, weights, combiner, n, padding_id)


@pytest.mark.parametrize("num_shards", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_random_features_agree_with_numpy_and_with_stock_ops(seed, num_shards):
    random = np.random.default_rng(seed)
    features = [random_feature(random, combiner) for combiner in COMBINERS]
    tables, dims = [0, 1, 0, 1, 0], [3, 17]
    packed, positions, vectors = read(features, tables, dims, num_shards)
    gradients = []
    sums = {}
    for feature, table, position, got in zip(
        features, tables, positions, vectors
    ):
        dim = dims[table]
        expected = expected_vectors(feature, dim)
        np.testing.assert_allclose(
            got, expected.reshape(got.shape), rtol=1e-5, atol=1e-6
        )
        asked = position.numpy().reshape(-1) >= 0
        rows = [
            row_of(id_, dim) for id_ in feature.ids.numpy().reshape(-1)[asked]
        ]
        stock = ops.stock_combine(
            tf.constant(np.array(rows, np.float32).reshape([-1, dim])),
            ops.valid_ids(feature),
            feature,
        )
        np.testing.assert_array_equal(stock, got)
        gradient = random.normal(size=got.shape).astype(np.float32)
        gradients.append(tf.constant(gradient))
        values, indices = ops.slices(gradients[-1], position, feature, dim=dim)
        expected_values, expected_ids = [], []
        of_lists = gradient.reshape(
            [-1, max(feature.max_sequence_length, 1), dim]
        )
        for number, ids in enumerate(lists_of(feature)):
            for place, (id_, weight, _) in enumerate(ids):
                which = place if feature.max_sequence_length else 0
                slice_ = of_lists[number, which] * weight
                slice_ = slice_ * scale_of(feature, ids)
                expected_values.append(slice_)
                expected_ids.append(id_)
                count, total = sums.get((table, id_), (0, np.zeros(dim)))
                sums[table, id_] = count + 1, total + slice_
        np.testing.assert_array_equal(indices, expected_ids)
        np.testing.assert_allclose(
            values,
            np.array(expected_values).reshape([-1, dim]),
            rtol=1e-5,
            atol=1e-6,
        )
    check_sums(packed, positions, gradients, features, tables, dims, sums)


def check_sums(packed, positions, gradients, features, tables, dims, sums):
    out, values = ops.combine_gradients(
        **step_of([0.5, 0.25, 0.125]),
        packed=packed,
        gradients=gradients,
        positions=positions,
        features=features,
        feature_tables=tables,
        num_tables=2,
        tables=[0, 1],
        dims=dims,
    )
    found = {}
    for numbers, floats in zip(out, values):
        for table, ids, counts, rows in unpacked(numbers, floats, dims, 3):
            for id_, count, row in zip(ids, counts, rows):
                assert (table, id_) not in found
                found[table, id_] = count, row
    assert found.keys() == sums.keys()
    for key, (count, row) in found.items():
        assert count == sums[key][0]
        np.testing.assert_allclose(row, sums[key][1], rtol=1e-4, atol=1e-5)


def step_of(rates):
    return {
        "global_step": tf.constant(3, tf.int64),
        "event_time": tf.constant(4, tf.int64),
        "learning_rates": tf.constant(rates),
    }


def unpacked(numbers, floats, dims, num_rates):
    """Yields table, ids, counts and gradients of the inputs of apply."""
    numbers, floats = numbers.numpy(), floats.numpy()
    assert numbers[:2].tolist() == [3, 4]
    sizes, rest = np.split(numbers[2:], [len(dims)])
    ids, counts = np.split(rest, 2)
    floats = floats[num_rates:]
    begin = 0
    for table, size in enumerate(sizes):
        rows, floats = np.split(floats, [size * dims[table]])
        part = slice(begin, begin + size)
        begin += size
        yield table, ids[part], counts[part], rows.reshape([-1, dims[table]])
    assert not len(floats)


def test_partition_makes_ids_distinct_in_the_order_they_first_stand():
    packed, positions = ops.partition(
        [FeatureBatch(int64(7, 5, 7)), FeatureBatch(int64())]
        + [FeatureBatch(int64(9))],
        num_shards=1,
    )
    np.testing.assert_array_equal(packed[0], [2, 0, 1, 7, 5, 9])
    np.testing.assert_array_equal(positions[0], [0, 1, 0])


def test_features_of_one_table_ask_for_an_id_once_and_padding_not_at_all():
    packed, positions = ops.partition(
        [
            FeatureBatch(int64(7, 0, 5), padding_id=0),
            FeatureBatch(
                tf.constant([[5, 6, 4]], tf.int64),
                combiner="first_n",
                max_sequence_length=2,
            ),
        ],
        feature_tables=[0, 0],
        num_shards=1,
    )
    np.testing.assert_array_equal(packed[0], [3, 7, 5, 6])
    np.testing.assert_array_equal(positions[0], [0, -1, 1])
    np.testing.assert_array_equal(positions[1], [[1, 2, -1]])


def test_partition_gradients_sums_and_counts_equal_ids():
    packed, values = ops.partition_gradients(
        **step_of([0.5, 0.25]),
        ids=[int64(7, 5, 7)],
        gradients=[[[1.0], [2.0], [10.0]]],
        num_shards=1,
    )
    np.testing.assert_array_equal(packed[0], [3, 4, 2, 7, 5, 2, 1])
    # Rates are copied, however many there are.
    np.testing.assert_array_equal(values[0], [0.5, 0.25, 11.0, 2.0])


def test_ids_of_features_without_a_gradient_are_not_sent():
    features = [FeatureBatch(int64(7, 5)), FeatureBatch(int64(5, 6, 6))]
    packed, positions, _ = read(features, [0, 0], [2], 1)
    out, values = ops.combine_gradients(
        **step_of([0.5]),
        packed=packed,
        gradients=[tf.constant([[1.0, 2], [3, 4], [5, 6]])],
        positions=positions[1:],
        features=features[1:],
        feature_tables=[0],
        num_tables=1,
        tables=[0],
        dims=[2],
    )
    np.testing.assert_array_equal(out[0], [3, 4, 2, 5, 6, 1, 2])
    np.testing.assert_array_equal(values[0], [0.5, 1, 2, 8, 10])


def test_columns_of_a_gradient_give_the_same_bits_as_their_copies():
    random = np.random.default_rng(0)
    features = [
        FeatureBatch(int64(7, 5, 7)),
        FeatureBatch(
            tf.constant([[1, 2], [2, 2], [3, 1]], tf.int64), combiner="mean"
        ),
        FeatureBatch(int64(5, 5, 5)),
    ]
    packed, positions = ops.partition(
        features, feature_tables=[0, 1, 0], num_shards=2
    )
    wide = tf.constant(random.normal(size=[3, 12]), tf.float32)
    alone = tf.constant(random.normal(size=[3, 3]), tf.float32)

    def summed(gradients):
        return ops.combine_gradients(
            **step_of([0.5]),
            packed=packed,
            gradients=gradients,
            positions=positions,
            features=features,
            feature_tables=[0, 1, 0],
            num_tables=2,
            tables=[0, 1],
            dims=[3, 4],
        )

    got = summed([ops.Columns(wide, 1), ops.Columns(wide, 8), alone])
    want = summed([wide[:, 1:4], wide[:, 8:], alone])
    for left, right in zip(got, want, strict=True):
        for one, other in zip(left, right, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "wide", [tf.zeros([2, 4]), tf.zeros([3, 5]), tf.zeros([2, 1, 5])]
)
def test_a_gradient_without_the_columns_is_refused(wide):
    features = [FeatureBatch(int64(7, 5))]
    packed, positions = ops.partition(features, num_shards=1)

    # With shapes that are known only when it runs.
    @tf.function(
        input_signature=[tf.TensorSpec(None), tf.TensorSpec(None, tf.int64)]
    )
    def summed(wide, positions):
        return ops.combine_gradients(
            **step_of([0.5]),
            packed=packed,
            gradients=[ops.Columns(wide, 2)],
            positions=[positions],
            features=features,
            feature_tables=[0],
            num_tables=1,
            tables=[0],
            dims=[3],
        )

    with pytest.raises(
        tf.errors.InvalidArgumentError, match="in the columns from 2 on"
    ):
        summed(wide, positions[0])


def test_large_batches_give_the_same_bits_on_any_number_of_threads():
    random = np.random.default_rng(0)
    ids = tf.constant(np.minimum(random.zipf(1.3, [9000, 5]), 5000))
    features = [FeatureBatch(ids, combiner="mean")]
    packed, positions = ops.partition(features, num_shards=2)
    gradient = tf.constant(random.normal(size=[9000, 3]), tf.float32)
    _, values = ops.combine_gradients(
        **step_of([0.5]),
        packed=packed,
        gradients=[gradient],
        positions=positions,
        features=features,
        feature_tables=[0],
        num_tables=1,
        tables=[0],
        dims=[3],
    )
    slices, indices = ops.slices(gradient, positions[0], features[0], dim=3)
    _, expected = ops.partition_gradients(
        **step_of([0.5]), ids=[indices], gradients=[slices], num_shards=2
    )
    for got, want in zip(values, expected):
        np.testing.assert_array_equal(got, want)


def test_sparse_splits_by_hand():
    value = tf.SparseTensor(
        [[0, 2], [0, 5], [2, 0]], tf.constant([4, 5, 6], tf.int64), [4, 6]
    )
    for splits in (ops.sparse_splits, ops.stock_sparse_splits):
        np.testing.assert_array_equal(splits([value])[0], [0, 2, 2, 3, 3])


@pytest.mark.parametrize("rows", [[1, 0], [0, 9], [-1, 0]])
def test_sparse_ids_out_of_order_are_refused(rows):
    value = tf.SparseTensor(
        [[row, 0] for row in rows], tf.constant([4, 5], tf.int64), [2, 6]
    )
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="Sort them with tf.sparse.reorder"
    ):
        ops.sparse_splits([value])


@pytest.mark.parametrize("places", [[2], [1 << 40], [1 << 62]])
def test_positions_that_partition_did_not_give_are_refused(places):
    features = [FeatureBatch(int64(7))]
    packed, _ = ops.partition(features, num_shards=1)
    wrong = [int64(*places)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="positions"):
        ops.combine(packed, [[1.0]], wrong, features, dims=[1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="positions"):
        ops.combine_gradients(
            **step_of([0.5]),
            packed=packed,
            gradients=[[[1.0]]],
            positions=wrong,
            features=features,
            feature_tables=[0],
            num_tables=1,
            tables=[0],
            dims=[1],
        )


@pytest.mark.parametrize(
    "splits", [[0, 2], [0, 4, 3], [1, 3], [], [0, -1, 3], [0, 1 << 40, 3]]
)
def test_wrong_row_splits_are_refused(splits):
    feature = FeatureBatch(
        int64(7, 8, 9), tf.constant(splits, tf.int64), combiner="sum"
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="Row splits must"):
        ops.partition([feature], num_shards=1)


def test_answers_of_another_length_are_refused():
    features = [FeatureBatch(int64(7, 8))]
    packed, positions = ops.partition(features, num_shards=1)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="must have .* floats. Received: 3"
    ):
        ops.combine(packed, [[1.0, 2, 3]], positions, features, dims=[2])


def test_weights_that_stand_elsewhere_are_refused():
    for check in (ops.checked_weights, ops.stock_checked_weights):
        same = check(tf.constant([0.5]), int64(0, 1), int64(0, 1))
        assert same.numpy().tolist() == [0.5]
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must stand where ids stand"
        ):
            check(tf.constant([0.5]), int64(0, 1), int64(1, 1))
