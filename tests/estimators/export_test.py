"""Exports of an Estimator answer as its predictions do."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1


def model_fn(features, labels, mode):
    config = mt.TableConfig(
        "movie", 2, optimizer=mt.optimizers.SGD(1.0), seed=3
    )
    # Two lookups, the second of ids that depend on the rows of the first.
    layer = mt.layers.DynamicEmbedding(config)
    first = layer(features["ids"])
    other = mt.layers.DynamicEmbedding(mt.TableConfig("other", 1, seed=4))
    second = other(tf.cast(first[:, 0] * 1e6, tf.int64))
    bias = v1.get_variable("bias", [], initializer=v1.zeros_initializer())
    score = tf.reduce_sum(first, 1) + second[:, 0] + bias
    if mode == estimators.ModeKeys.PREDICT:
        return estimators.EstimatorSpec(
            mode,
            predictions={"score": score},
            export_outputs={
                "serving_default": estimators.export.PredictOutput(
                    {"score": score}
                )
            },
        )
    loss = tf.reduce_mean(tf.square(score - labels))
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(0.1)
    )
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


IDS = [5, -7, 2**62, 5]


def input_fn():
    return tf.data.Dataset.from_tensors(
        ({"ids": tf.constant(IDS, tf.int64)}, [1.0, 2.0, 3.0, 4.0])
    ).repeat(3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    estimator = estimators.Estimator(
        model_fn, tmp_path_factory.mktemp("export_model")
    )
    return estimator.train(input_fn)


def expected(estimator):
    predictions = estimator.predict(input_fn, yield_single_examples=False)
    return next(predictions)["score"]


@pytest.mark.slow
def test_a_raw_receiver_answers_as_predict(trained, tmp_path):
    receiver = estimators.export.build_raw_serving_input_receiver_fn(
        {"ids": tf.TensorSpec([None], tf.int64)}
    )
    record = trained.export_saved_model(tmp_path, receiver)
    serve = tf.saved_model.load(record.path).signatures["serving_default"]
    np.testing.assert_allclose(
        serve(ids=tf.constant(IDS, tf.int64))["score"],
        expected(trained),
        rtol=1e-6,
    )


@pytest.mark.slow
def test_a_parsing_receiver_answers_examples(trained, tmp_path):
    receiver = estimators.export.build_parsing_serving_input_receiver_fn(
        {"ids": tf.io.FixedLenFeature([], tf.int64)}
    )
    record = trained.export_saved_model(tmp_path, receiver)
    serve = tf.saved_model.load(record.path).signatures["serving_default"]
    examples = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "ids": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[id_])
                    )
                }
            )
        ).SerializeToString()
        for id_ in IDS
    ]
    np.testing.assert_allclose(
        serve(examples=tf.constant(examples))["score"],
        expected(trained),
        rtol=1e-6,
    )


def with_outputs(outputs_of):
    """A model_fn whose predictions are exported in another way."""

    def other_model_fn(features, labels, mode):
        spec = model_fn(features, labels, mode)
        if mode != estimators.ModeKeys.PREDICT:
            return spec
        return spec._replace(export_outputs=outputs_of(spec.predictions))

    return other_model_fn


def signatures(trained, tmp_path, outputs_of):
    other = estimators.Estimator(with_outputs(outputs_of), trained.model_dir)
    # A name that no Python argument can have.
    record = other.export_saved_model(
        tmp_path,
        lambda: estimators.export.ServingInputReceiver(
            {"ids": (ids := v1.placeholder(tf.int64, [None]))}, {"my:ids": ids}
        ),
    )
    return tf.saved_model.load(record.path).signatures


@pytest.mark.slow
def test_every_export_output_is_a_signature(trained, tmp_path):
    export = estimators.export
    found = signatures(
        trained,
        tmp_path,
        lambda predictions: {
            "serving_default": export.PredictOutput(predictions["score"]),
            "double": {"twice": 2.0 * predictions["score"]},
            "regress": export.RegressionOutput(predictions["score"]),
            "classify": export.ClassificationOutput(
                scores=predictions["score"][:, None]
            ),
        },
    )
    score = expected(trained)
    for name, output, value in (
        ("serving_default", "output", score),
        ("double", "twice", 2 * score),
        ("regress", "outputs", score),
        ("classify", "scores", score[:, None]),
    ):
        answers = found[name](**{"my:ids": tf.constant(IDS, tf.int64)})
        assert list(answers) == [output]
        np.testing.assert_allclose(answers[output], value, rtol=1e-6)
    assert "monolith_apply_delta" in found


@pytest.mark.slow
def test_an_only_export_output_is_the_default_one_too(trained, tmp_path):
    found = signatures(trained, tmp_path, lambda p: {"mine": p["score"]})
    assert {"serving_default", "mine"} <= set(found)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("one", "two"), "must be named 'serving_default'"),
        (("monolith_status",), "Choose another"),
    ],
)
def test_names_of_signatures_that_cannot_be_are_refused(
    trained, tmp_path, names, message
):
    with pytest.raises(mt.errors.ExportError, match=message):
        signatures(trained, tmp_path, lambda p: dict.fromkeys(names, p))


def test_a_classification_of_nothing_is_refused():
    with pytest.raises(ValueError, match="needs scores or classes"):
        estimators.export.ClassificationOutput()


@pytest.mark.slow
def test_versions_grow(trained, tmp_path):
    receiver = estimators.export.build_raw_serving_input_receiver_fn(
        {"ids": tf.TensorSpec([None], tf.int64)}
    )
    first = trained.export_saved_model(tmp_path, receiver)
    second = trained.export_saved_model(tmp_path, receiver)
    assert second.version > first.version > 1_500_000_000


def test_extra_assets_are_refused(trained, tmp_path):
    with pytest.raises(ValueError, match="Leave them out"):
        trained.export_saved_model(tmp_path, None, assets_extra={"a": "b"})


def test_a_receiver_of_something_else_is_refused():
    with pytest.raises(TypeError, match="must be a tensor"):
        estimators.export.ServingInputReceiver({}, {"ids": 3})
