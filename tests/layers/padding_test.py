"""Padding reads zeros, learns nothing, is not counted and is masked."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = np.array([[3, 0, 5, 0], [0, 0, 0, 0], [7, 5, 3, 0]], np.int64)


def make_layer(combiner=None, padding_id=0):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie",
                dim=2,
                optimizer=mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Constant(1.0),
            ),
            combiner=combiner,
            padding_id=padding_id,
        )
    return layer


def test_padding_reads_zeros():
    got = make_layer()(tf.constant(IDS))
    np.testing.assert_array_equal(got[..., 0], (IDS != 0).astype(np.float32))


def test_combiners_do_not_count_padding():
    got = make_layer("mean")(tf.constant(IDS))
    assert got.numpy().tolist() == [[1, 1], [0, 0], [1, 1]]
    got = make_layer("sqrtn")(tf.constant(IDS))
    np.testing.assert_allclose(
        got[:, 0], [2 / 2**0.5, 0, 3 / 3**0.5], rtol=1e-6
    )


def test_padding_inside_ragged_and_sparse_ids_is_passed_over():
    ragged = tf.ragged.constant([[3, 0], [0], [0, 5, 7]], tf.int64)
    for ids in (ragged, ragged.to_sparse()):
        got = make_layer("sum")(ids)
        assert got.numpy().tolist() == [[1, 1], [0, 0], [2, 2]]
    spread = make_layer()(ragged)
    assert spread.to_list() == [
        [[1, 1], [0, 0]],
        [[0, 0]],
        [[0, 0], [1, 1], [1, 1]],
    ]


@pytest.mark.parametrize("padding_id", [0, -1, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("combiner", ["sum", None])
def test_padding_gets_no_gradient_and_no_row(combiner, padding_id):
    layer = make_layer(combiner, padding_id)
    ids = tf.where(IDS == 0, tf.constant(padding_id, tf.int64), IDS)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(ids))
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert sorted(gradient.indices.numpy()) == [3, 3, 5, 5, 7]
    mt.optimizers.with_tables("sgd").apply_gradients(
        [(gradient, layer.trainable_variables[0])]
    )
    assert layer.table.size() == 3
    np.testing.assert_array_equal(
        layer.table.lookup([3, 5, 7, padding_id])[:, 0], [-1, -1, 0, 1]
    )


def test_padding_of_one_feature_is_an_id_of_another():
    config = mt.TableConfig(
        "movie", dim=2, initializer=mt.initializers.Constant(1.0)
    )
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, padding_id=0),
                mt.FeatureConfig("b", config),
            ]
        )
    ids = tf.constant([0], tf.int64)
    vectors = layer({"a": ids, "b": ids})
    assert vectors["a"].numpy().tolist() == [[0, 0]]
    assert vectors["b"].numpy().tolist() == [[1, 1]]


def test_the_mask_is_true_where_an_id_stands():
    layer = make_layer()
    np.testing.assert_array_equal(layer(tf.constant(IDS))._keras_mask, IDS != 0)
    assert make_layer(padding_id=None).compute_mask(tf.constant(IDS)) is None
    assert make_layer("sum").compute_mask(tf.constant(IDS)) is None


def test_pooling_downstream_leaves_padding_out():
    layer = make_layer()
    layer.table.assign([3, 5, 7], np.array([[3.0, 1], [5, 1], [7, 1]], "f"))
    pooled = tf_keras.layers.GlobalAveragePooling1D()(layer(tf.constant(IDS)))
    np.testing.assert_allclose(pooled[0], [4, 1], rtol=1e-6)
    np.testing.assert_allclose(pooled[2], [5, 1], rtol=1e-6)


def test_a_recurrent_layer_downstream_stops_at_the_padding():
    layer = make_layer()
    layer.table.assign([3, 5], np.array([[0.3, 1], [0.5, -1]], np.float32))
    inputs = tf_keras.Input([None], dtype="int64")
    outputs = tf_keras.layers.LSTM(4)(layer(inputs))
    model = tf_keras.Model(inputs, outputs)
    short = model(tf.constant([[3, 5]], tf.int64))
    padded = model(tf.constant([[3, 5, 0, 0, 0]], tf.int64))
    np.testing.assert_allclose(short, padded, atol=1e-7)
    other = model(tf.constant([[3, 5, 5]], tf.int64))
    assert np.abs(short - other).max() > 1e-3


def test_a_collection_masks_each_feature():
    config = mt.TableConfig("movie", dim=2)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("history", config, padding_id=0),
                mt.FeatureConfig("movie", config),
            ]
        )
    vectors = layer(
        {
            "history": tf.constant(IDS),
            "movie": tf.constant([1, 2, 3], tf.int64),
        }
    )
    np.testing.assert_array_equal(vectors["history"]._keras_mask, IDS != 0)
    pooled = tf_keras.layers.GlobalAveragePooling1D()(vectors["history"])
    np.testing.assert_allclose(
        pooled[0], tf.reduce_mean(layer.tables[0].lookup([3, 5]), 0), rtol=1e-6
    )
