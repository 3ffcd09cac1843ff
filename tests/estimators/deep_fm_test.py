"""The canned DeepFM against its equations, and on data with an answer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators


def features(dim=3):
    return [
        mt.FeatureConfig(
            name,
            mt.TableConfig(
                name,
                dim,
                optimizer=mt.optimizers.Adagrad(0.3),
                initializer=mt.initializers.RandomUniform(-0.5, 0.5),
            ),
            combiner=combiner,
        )
        for name, combiner in (("user", None), ("items", "sum"))
    ]


def batch(number=200):
    random = np.random.default_rng(0)
    users = random.integers(0, 10, number)
    items = random.integers(0, 10, (number, 2))
    age = random.normal(size=number).astype(np.float32)
    labels = ((users < 5) == (items.sum(axis=1) < 9)).astype(np.float32)
    return {"user": users, "items": items, "age": age}, labels


def input_fn():
    return tf.data.Dataset.from_tensors(batch()).repeat(150)


@pytest.mark.slow
def test_logits_are_those_of_the_equations(tmp_path):
    estimator = estimators.DeepFMEstimator(
        features(), ["age"], [4], model_dir=tmp_path
    )
    estimator.train(input_fn, steps=3)
    found = list(estimator.predict(lambda: input_fn().take(1)))
    with mt.TableSet():
        tables = [mt.Table(feature.config) for feature in features()]
    mt.checkpoint.restore_tables(tables, tmp_path)
    inputs, _ = batch()
    user = tables[0].lookup(inputs["user"]).numpy()
    items = tables[1].lookup(inputs["items"].ravel()).numpy()
    items = items.reshape(-1, 2, 3).sum(axis=1)
    deep = np.concatenate([user, items, inputs["age"][:, None]], axis=1)

    def dense(name, x):
        kernel = estimator.get_variable_value(f"{name}/kernel")
        return x @ kernel + estimator.get_variable_value(f"{name}/bias")

    expected = (
        user[:, 0]
        + items[:, 0]
        + (user[:, 1:] * items[:, 1:]).sum(axis=1)
        + dense("dnn_logits", np.maximum(dense("dnn_0", deep), 0.0))[:, 0]
    )
    np.testing.assert_allclose(
        [prediction["logits"] for prediction in found],
        expected,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.slow
def test_it_learns_what_pairs_of_ids_decide(tmp_path):
    estimator = estimators.DeepFMEstimator(
        features(), ["age"], [16], model_dir=tmp_path
    )
    estimator.train(input_fn)
    results = estimator.evaluate(input_fn, steps=1)
    assert results["auc"] > 0.95
    assert results["label/mean"] == pytest.approx(batch()[1].mean())


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one dim"):
        estimators.DeepFMEstimator([*features(3), *features(4)][1:3])
