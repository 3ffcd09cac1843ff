"""Masks reach the layers of Keras 3, eagerly and in functional models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt

IDS = np.array([[3, 5, 0], [7, 0, 0]], np.int64)


def make_layer(config, combiner=None, **kwargs):
    with mt.TableSet():
        return mt.keras3.DynamicEmbedding(config, combiner, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"padding_id": 0}, [[1, 1, 0], [1, 0, 0]]),
        (
            {"combiner": "first_n", "max_sequence_length": 2, "padding_id": 0},
            [[1, 1], [1, 0]],
        ),
        (
            {"combiner": "first_n", "max_sequence_length": 4},
            [[1, 1, 1, 0], [1, 1, 1, 0]],
        ),
        ({"padding_id": 0, "default_id": -1}, None),
        ({}, None),
        ({"combiner": "sum", "padding_id": 0}, None),
    ],
    ids=str,
)
def test_masks_are_those_of_the_feature(make_config, kwargs, expected):
    layer = make_layer(make_config(), **kwargs)
    mask = getattr(layer(tf.constant(IDS)), "_keras_mask", None)
    symbol = keras.Input([3], dtype="int64")
    symbolic = getattr(layer(symbol), "_keras_mask", None)
    if expected is None:
        assert mask is None
        assert symbolic is None
        return
    assert mask.numpy().astype(int).tolist() == expected
    assert symbolic.dtype == "bool"
    assert symbolic.shape[1:] == mask.shape[1:]


@pytest.mark.parametrize("kind", ["none", "first_n"])
def test_a_functional_model_with_a_mask_saves_and_pads_as_it_likes(
    make_config, tmp_path, kind
):
    ids = keras.Input([None], dtype="int64")
    kwargs = (
        {"combiner": "first_n", "max_sequence_length": 2}
        if kind == "first_n"
        else {}
    )
    vectors = make_layer(make_config(), padding_id=0, **kwargs)(ids)
    model = keras.Model(ids, keras.layers.LSTM(2)(vectors))
    short = model.predict(IDS[:, :2], verbose=0)
    np.testing.assert_allclose(model.predict(IDS, verbose=0), short, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(IDS[:, :2], verbose=0), short)
    np.testing.assert_allclose(loaded.predict(IDS, verbose=0), short, rtol=1e-6)


def test_a_collection_masks_each_feature_that_has_a_mask(make_config):
    config = make_config()
    with mt.TableSet():
        layer = mt.keras3.EmbeddingCollection(
            [
                mt.FeatureConfig("history", config, padding_id=0),
                mt.FeatureConfig("item", config, "sum"),
            ]
        )
    mean = keras.layers.GlobalAveragePooling1D()
    inputs = {
        name: keras.Input([None], dtype="int64", name=name)
        for name in ("history", "item")
    }
    vectors = layer(inputs)
    model = keras.Model(inputs, [mean(vectors["history"]), vectors["item"]])
    layer.tables[0].assign([3], [[5.0, 7.0]])
    first, second = model({"history": IDS, "item": IDS})
    assert first.numpy().tolist() == [[3, 4], [1, 1]]
    assert second.numpy().tolist() == [[7, 9], [3, 3]]
