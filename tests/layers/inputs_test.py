"""Inputs of the layers, accepted and refused."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

COMBINERS = ["sum", "mean", "sqrtn", None]


def rows_of(ids, dim=2):
    """The rows that `make_layer` puts into its table: [id, 10 * id]."""
    ids = np.asarray(ids, np.float32)
    return np.stack([ids * 10**i for i in range(dim)], axis=-1)


def make_layer(combiner=None, padding_id=None, known=range(-9, 10)):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=2),
            combiner=combiner,
            padding_id=padding_id,
        )
    ids = np.array(list(known), np.int64)
    layer.table.assign(ids, rows_of(ids))
    return layer


def combine(combiner, ids):
    """One vector of a list of ids, in NumPy."""
    rows = rows_of(ids).reshape([-1, 2])
    if combiner == "sum" or not len(rows):
        return rows.sum(axis=0)
    divisor = len(rows) if combiner == "mean" else np.sqrt(len(rows))
    return rows.sum(axis=0) / divisor


def test_two_ids_are_combined_by_sum_mean_and_sqrtn():
    ids = tf.constant([[3, 5]], tf.int64)
    assert make_layer("sum")(ids).numpy().tolist() == [[8, 80]]
    assert make_layer("mean")(ids).numpy().tolist() == [[4, 40]]
    np.testing.assert_allclose(
        make_layer("sqrtn")(ids), [[8 / 2**0.5, 80 / 2**0.5]], rtol=1e-6
    )
    assert make_layer(None)(ids).numpy().tolist() == [[[3, 30], [5, 50]]]


def test_an_unseen_id_reads_its_initial_row_and_stays_unseen():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie", dim=2, initializer=mt.initializers.Constant(3.0)
            )
        )
    assert layer(tf.constant([7], tf.int64)).numpy().tolist() == [[3, 3]]
    assert layer.table.size() == 0


@pytest.mark.parametrize("shape", [(4,), (3, 2), (2, 3, 2), (2, 1, 3, 2)])
@pytest.mark.parametrize("combiner", COMBINERS)
def test_dense_ids_of_any_leading_shape(combiner, shape):
    ids = np.arange(np.prod(shape)).reshape(shape) % 9 - 4
    got = make_layer(combiner)(tf.constant(ids, tf.int64)).numpy()
    if combiner is None:
        expected = rows_of(ids)
    elif len(shape) == 1:
        # [batch] is one id an example: combining changes nothing.
        expected = rows_of(ids)
    else:
        flat = ids.reshape([-1, shape[-1]])
        expected = np.stack([combine(combiner, row) for row in flat])
        expected = expected.reshape([*shape[:-1], 2])
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])
@pytest.mark.parametrize("kind", ["ragged", "sparse"])
def test_ragged_and_sparse_ids_with_empty_examples(combiner, kind):
    lists = [[], [3, 3, -1], [7], []]
    ids = tf.ragged.constant(lists, tf.int64)
    if kind == "sparse":
        ids = ids.to_sparse()
    got = make_layer(combiner)(ids)
    assert got.shape == [4, 2]
    np.testing.assert_allclose(
        got, np.stack([combine(combiner, row) for row in lists]), rtol=1e-6
    )


def test_a_batch_without_any_id_combines_to_zeros():
    ids = tf.RaggedTensor.from_row_lengths(tf.zeros([0], tf.int64), [0, 0])
    assert make_layer("mean")(ids).numpy().tolist() == [[0, 0], [0, 0]]
    assert make_layer()(tf.zeros([0], tf.int64)).shape == [0, 2]
    assert make_layer("sum")(tf.zeros([0, 3], tf.int64)).shape == [0, 2]


def test_a_sparse_row_at_the_end_may_be_empty():
    ids = tf.SparseTensor(
        [[0, 2], [1, 0]], tf.constant([4, 5], tf.int64), [3, 3]
    )
    assert make_layer("sum")(ids).numpy().tolist() == [[4, 40], [5, 50], [0, 0]]


def test_ragged_ids_without_a_combiner_stay_ragged():
    got = make_layer()(tf.ragged.constant([[1], [], [2, 3]], tf.int64))
    assert isinstance(got, tf.RaggedTensor)
    assert got.to_list() == [[[1, 10]], [], [[2, 20], [3, 30]]]


def test_nested_ragged_ids_lose_their_innermost_dimension_when_combined():
    ids = tf.ragged.constant([[[1, 2], []], [], [[3]]], tf.int64)
    got = make_layer("sum")(ids)
    assert got.to_list() == [[[3, 30], [0, 0]], [], [[3, 30]]]


def test_int32_ids_are_the_same_ids():
    layer = make_layer()
    np.testing.assert_array_equal(
        layer(tf.constant([-3, 4], tf.int32)),
        layer(tf.constant([-3, 4], tf.int64)),
    )


def test_shapes_are_known_in_a_function_when_the_ids_shapes_are():
    layer = make_layer("mean")

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 7], tf.int64)])
    def call(ids):
        result = layer(ids)
        assert result.shape.as_list() == [None, 5, 2]
        return result

    assert call(tf.zeros([2, 5, 7], tf.int64)).shape == [2, 5, 2]


def test_a_collection_reads_mixed_features_and_shares_a_table():
    movie = mt.TableConfig("movie", dim=2)
    genre = mt.TableConfig("genre", dim=2)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("movie_id", movie),
                mt.FeatureConfig(
                    "genres", genre, combiner="mean", padding_id=0
                ),
                mt.FeatureConfig("history", movie, combiner="sum"),
                mt.FeatureConfig("tags", genre, combiner="sqrtn"),
            ]
        )
    assert [table.name for table in layer.tables] == ["genre", "movie"]
    ids = np.arange(-9, 10)
    for table, factor in zip(layer.tables, (2, 1), strict=True):
        table.assign(ids, rows_of(ids) * factor)
    vectors = layer(
        {
            "movie_id": tf.constant([[3], [4]], tf.int32),
            "genres": tf.constant([[1, 2, 0], [0, 0, 0]], tf.int64),
            "history": tf.ragged.constant([[3, 4, 5], []], tf.int64),
            "tags": tf.sparse.from_dense(
                tf.constant([[0, 6], [0, 0]], tf.int64)
            ),
        }
    )
    assert vectors["movie_id"].numpy().tolist() == [[[3, 30]], [[4, 40]]]
    assert vectors["genres"].numpy().tolist() == [[3, 30], [0, 0]]
    assert vectors["history"].numpy().tolist() == [[12, 120], [0, 0]]
    assert vectors["tags"].numpy().tolist() == [[12, 120], [0, 0]]


def test_equal_configs_in_one_collection_are_one_table():
    def config():
        return mt.TableConfig("movie", dim=2, seed=3)

    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", config()), mt.FeatureConfig("b", config())]
        )
    assert len(layer.tables) == 1


def test_two_tables_of_one_name_with_different_configs_are_refused():
    features = [
        mt.FeatureConfig("a", mt.TableConfig("movie", dim=2)),
        mt.FeatureConfig("b", mt.TableConfig("movie", dim=3)),
    ]
    with pytest.raises(
        ValueError, match="Two tables are named 'movie'.*rename"
    ):
        mt.layers.EmbeddingCollection(features)


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (
            tf.constant([1.0]),
            TypeError,
            "needs int64 ids. Received: dtype float32",
        ),
        (tf.constant(["a"]), TypeError, "mt.ids.from_strings"),
        (tf.constant(1, tf.int64), ValueError, "batch dimension"),
        (
            tf.sparse.from_dense(tf.ones([1, 1, 1], tf.int64)),
            ValueError,
            r"sparse ids of shape \[batch, length\]",
        ),
        (
            tf.RaggedTensor.from_row_lengths(tf.ones([2, 3], tf.int64), [2]),
            ValueError,
            "innermost dimension is ragged",
        ),
    ],
)
def test_other_inputs_are_refused(ids, error, message):
    with pytest.raises(error, match=message):
        make_layer("sum")(ids)


def test_a_collection_refuses_inputs_that_are_not_its_features():
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [mt.FeatureConfig("a", mt.TableConfig("movie", dim=2))]
        )
    one = tf.constant([1], tf.int64)
    with pytest.raises(ValueError, match=r"exactly the features \['a'\]"):
        layer({"a": one, "b": one})
    with pytest.raises(TypeError, match="needs a dict of feature name to ids"):
        layer(one)


def test_a_collection_refuses_features_that_are_none():
    with pytest.raises(ValueError, match="at least one mt.FeatureConfig"):
        mt.layers.EmbeddingCollection([])
    with pytest.raises(TypeError, match="needs mt.FeatureConfigs"):
        mt.layers.EmbeddingCollection([mt.TableConfig("movie", dim=2)])
    feature = mt.FeatureConfig("a", mt.TableConfig("movie", dim=2))
    with pytest.raises(ValueError, match="different names"):
        mt.layers.EmbeddingCollection([feature, feature])
    with pytest.raises(ValueError, match="combiner of feature 'a'"):
        mt.FeatureConfig("a", mt.TableConfig("movie", dim=2), combiner="max")


def test_ragged_vectors_into_a_dense_layer_are_refused():
    inputs = tf_keras.Input([None], dtype="int64", ragged=True)
    with mt.TableSet():
        vectors = mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=2))(
            inputs
        )
    flat = tf_keras.layers.Flatten()(vectors)
    with pytest.raises(ValueError, match="should be defined. Found None"):
        tf_keras.layers.Dense(1)(flat)
    with pytest.raises(
        ValueError, match="requires inputs with matching shapes"
    ):
        tf_keras.layers.Concatenate()([vectors, tf_keras.Input([3])])


@pytest.mark.parametrize("combiner", [None, "sum"])
def test_ids_of_unknown_rank_are_trained(combiner):
    with mt.TableSet():
        config = mt.TableConfig(
            "movie",
            dim=2,
            optimizer=mt.optimizers.SGD(1.0),
            initializer=mt.initializers.Zeros(),
        )
        layer = mt.layers.DynamicEmbedding(config, combiner)
    optimizer = mt.optimizers.with_tables("sgd")
    variables = layer.trainable_variables

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int64)])
    def step(ids):
        with tf.GradientTape() as tape:
            vectors = layer(ids)
            loss = tf.reduce_sum(vectors)
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        return vectors

    one, two = tf.constant([4, 9], tf.int64), tf.constant([[4, 7]], tf.int64)
    assert step(one).shape == [2, 2]
    assert step(two).shape == ([1, 2, 2] if combiner is None else [1, 2])
    rows = layer.table.lookup([4, 9, 7])[:, 0]
    assert rows.numpy().tolist() == [-2, -1, -1]
