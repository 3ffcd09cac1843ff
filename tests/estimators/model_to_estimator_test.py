"""A Keras model as an Estimator trains as the model itself does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import estimators


def build():
    """A model with rows, dense weights and moving averages."""
    with mt.TableSet():
        config = mt.TableConfig(
            "movie", 4, optimizer=mt.optimizers.Adam(0.1), seed=2
        )
        ids = tf_keras.Input([], dtype="int64", name="movie")
        age = tf_keras.Input([1], name="age")
        rows = mt.layers.DynamicEmbedding(config, name="rows")(ids)
        both = tf_keras.layers.Concatenate()([rows, age])
        both = tf_keras.layers.BatchNormalization()(both)
        ones = tf_keras.initializers.Constant(0.3)
        hidden = tf_keras.layers.Dense(3, "relu", kernel_initializer=ones)(both)
        score = tf_keras.layers.Dense(
            1, "sigmoid", kernel_initializer=ones, name="score"
        )(hidden)
        model = tf_keras.Model({"movie": ids, "age": age}, score)
    model.compile(
        mt.optimizers.with_tables(tf_keras.optimizers.Adam(0.05)),
        "binary_crossentropy",
        metrics=["accuracy", tf_keras.metrics.AUC(name="auc")],
    )
    return model


def input_fn():
    random = np.random.default_rng(4)
    movies = random.integers(0, 20, 64) * 2**33
    ages = random.normal(size=(64, 1)).astype(np.float32)
    labels = (movies // 2**33 % 2).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices(
        ({"movie": movies, "age": ages}, labels)
    )
    return data.batch(16)


def rows_of(model):
    return (
        model.get_layer("rows")
        .table.lookup(np.arange(20, dtype=np.int64) * 2**33)
        .numpy()
    )


def dense_of(model):
    return [
        weight.numpy()
        for layer in model.layers
        if layer.name != "rows"
        for weight in layer.weights
    ]


@pytest.mark.slow
def test_training_there_and_back_equals_fit(tmp_path):
    fitted, model = build(), build()
    fitted.fit(input_fn(), epochs=3, verbose=0)
    model.fit(input_fn(), epochs=1, verbose=0)
    estimator = estimators.model_to_estimator(model, model_dir=tmp_path)
    estimator.train(input_fn)
    back = build()
    estimator.restore_into(back)
    assert back.optimizer.iterations.numpy() == 8
    back.fit(input_fn(), epochs=1, verbose=0)
    np.testing.assert_allclose(rows_of(back), rows_of(fitted), atol=1e-5)
    for found, expected in zip(dense_of(back), dense_of(fitted)):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_comes_back_without_training_is_bit_for_bit_the_same(tmp_path):
    model = build()
    model.fit(input_fn(), epochs=1, verbose=0)
    estimator = estimators.model_to_estimator(model, model_dir=tmp_path)
    estimator.train(lambda: input_fn().take(0).repeat(0))
    back = build()
    estimator.restore_into(back)
    np.testing.assert_array_equal(rows_of(back), rows_of(model))
    for found, expected in zip(dense_of(back), dense_of(model)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_evaluation_and_predictions_are_those_of_the_model(tmp_path):
    model = build()
    estimator = estimators.model_to_estimator(model, model_dir=tmp_path)
    estimator.train(input_fn)
    estimator.restore_into(model)
    expected = model.evaluate(input_fn(), return_dict=True, verbose=0)
    found = estimator.evaluate(input_fn)
    for name in ("loss", "accuracy", "auc"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4), name
    predictions = [p["score"] for p in estimator.predict(input_fn)]
    np.testing.assert_allclose(
        predictions, model.predict(input_fn(), verbose=0), rtol=1e-5
    )


def test_a_model_that_is_not_compiled_is_refused():
    inputs = tf_keras.Input([1])
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(1)(inputs))
    with pytest.raises(ValueError, match="is not compiled"):
        estimators.model_to_estimator(model)


def test_one_model_must_be_given():
    with pytest.raises(ValueError, match="or keras_model_path"):
        estimators.model_to_estimator()
