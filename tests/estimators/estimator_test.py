"""A local Estimator against the same training in eager mode."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1
DIM = 4
STEPS = 6


def batches():
    random = np.random.default_rng(3)
    for _ in range(STEPS):
        length = int(random.integers(5, 20))
        ids = random.integers(-6, 6, length) * 2**40
        yield ids, random.integers(0, 2, length).astype(np.float32)


def input_fn():
    return tf.data.Dataset.from_generator(
        lambda: (({"ids": ids}, labels) for ids, labels in batches()),
        output_signature=(
            {"ids": tf.TensorSpec([None], tf.int64)},
            tf.TensorSpec([None], tf.float32),
        ),
    )


def config():
    return mt.TableConfig(
        "movie",
        DIM,
        optimizer=mt.optimizers.Adagrad(0.1),
        initializer=mt.initializers.RandomUniform(-0.5, 0.5),
        seed=5,
    )


def model_fn(features, labels, mode, params):
    layer = mt.layers.DynamicEmbedding(config())
    rows = layer(features["ids"])
    kernel = v1.get_variable("kernel", [DIM], initializer=v1.ones_initializer())
    logits = tf.linalg.matvec(rows, kernel)
    predictions = {"logits": logits, "id": features["ids"]}
    if mode == estimators.ModeKeys.PREDICT:
        return estimators.EstimatorSpec(mode, predictions=predictions)
    loss = tf.reduce_mean(tf.square(logits - labels))
    if mode == estimators.ModeKeys.EVAL:
        return estimators.EstimatorSpec(
            mode,
            loss=loss,
            eval_metric_ops={"mean": v1.metrics.mean(logits)},
        )
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(params["rate"])
    )
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


def eager_run():
    """The same training by a tape: the table and the kernel."""
    with mt.TableSet():
        table = mt.Table(config())
    kernel = tf.Variable(tf.ones([DIM]))
    for step, (ids, labels) in enumerate(batches()):
        with tf.GradientTape() as tape:
            rows = table.lookup(ids)
            logits = tf.linalg.matvec(rows, kernel)
            loss = tf.reduce_mean(tf.square(logits - labels))
        slices, dense = tape.gradient(
            loss, [*table.trainable_variables, kernel]
        )
        table.apply_gradients(slices.indices, slices.values, step=step)
        kernel.assign_sub(0.5 * dense)
    return table, kernel


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = str(tmp_path_factory.mktemp("model"))
    estimator = estimators.Estimator(model_fn, directory, params={"rate": 0.5})
    assert estimator.train(input_fn) is estimator
    return estimator


@pytest.mark.slow
def test_training_equals_the_eager_run(trained):
    table, kernel = eager_run()
    assert trained.get_variable_value("global_step") == STEPS
    np.testing.assert_allclose(
        trained.get_variable_value("kernel"), kernel.numpy(), rtol=1e-5
    )
    with mt.TableSet():
        restored = mt.Table(config())
    mt.checkpoint.restore_tables(restored, trained.model_dir)
    assert restored.size() == table.size()
    for ids, rows in table.export():
        np.testing.assert_allclose(
            restored.lookup(ids).numpy(), rows, rtol=1e-4, atol=1e-6
        )


def test_predictions_are_those_of_the_rows_that_were_trained(trained):
    table, kernel = eager_run()
    found = list(trained.predict(input_fn))
    assert len(found) == sum(len(ids) for ids, _ in batches())
    ids = np.array([prediction["id"] for prediction in found])
    expected = tf.linalg.matvec(table.lookup(ids), kernel).numpy()
    np.testing.assert_allclose(
        [prediction["logits"] for prediction in found],
        expected,
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.slow
def test_evaluation_tells_loss_step_and_metrics(trained):
    results = trained.evaluate(input_fn, steps=2)
    predicted = list(trained.predict(input_fn, yield_single_examples=False))
    losses = [
        np.mean((batch["logits"] - labels) ** 2)
        for batch, (_, labels) in zip(predicted, batches())
    ]
    assert results["global_step"] == STEPS
    assert results["loss"] == pytest.approx(np.mean(losses[:2]), rel=1e-5)
    means = np.concatenate([batch["logits"] for batch in predicted[:2]])
    assert results["mean"] == pytest.approx(means.mean(), rel=1e-4)


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(trained, tmp_path):
    parts = estimators.Estimator(model_fn, tmp_path, params={"rate": 0.5})
    parts.train(input_fn, steps=2)
    parts.train(lambda: input_fn().skip(2), max_steps=STEPS)
    parts.train(input_fn, max_steps=STEPS)  # Nothing is left to do.
    assert parts.get_variable_value("global_step") == STEPS
    np.testing.assert_array_equal(
        parts.get_variable_value("kernel"),
        trained.get_variable_value("kernel"),
    )
    assert list(parts.predict(input_fn))[0]["logits"] == pytest.approx(
        list(trained.predict(input_fn))[0]["logits"]
    )


@pytest.mark.slow
def test_rows_of_a_keras_checkpoint_start_an_estimator(tmp_path):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config())
        layer.table.assign([7], [[1.0, 2.0, 3.0, 4.0]])
    path = tf.train.Checkpoint(model=layer).write(str(tmp_path / "keras"))
    estimator = estimators.Estimator(
        model_fn,
        tmp_path / "model",
        params={"rate": 0.0},
        warm_start_from=estimators.WarmStartSettings(path, "movie"),
    )
    estimator.train(input_fn, steps=1)
    assert "kernel" in estimator.get_variable_names()

    def one():
        return {"ids": tf.constant([7], tf.int64)}

    (found,) = estimator.predict(lambda: tf.data.Dataset.from_tensors(one()))
    assert found["logits"] == 10.0


def test_a_session_is_not_ready_before_its_tables_are_made():
    with tf.Graph().as_default() as graph:
        layer = mt.layers.DynamicEmbedding(config())
        rows = layer(tf.constant([7], tf.int64))
        missing = v1.report_uninitialized_variables()
        initialize = v1.global_variables_initializer()
        with v1.Session(graph=graph) as session:
            found = {name.decode() for name in session.run(missing)}
            assert "monolith_tf_ready/movie/0" in found
            with pytest.raises(
                tf.errors.FailedPreconditionError, match="does not exist"
            ):
                session.run(rows)
            session.run(initialize)
            assert not session.run(missing).size
            assert session.run(rows).shape == (1, DIM)


def test_a_model_fn_without_a_spec_is_refused(tmp_path):
    estimator = estimators.Estimator(lambda features, labels: None, tmp_path)
    with pytest.raises(ValueError, match="must return a .*EstimatorSpec"):
        estimator.train(input_fn, steps=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 1, "max_steps": 1}, "not both"),
        ({"steps": 0}, "above 0"),
        ({"max_steps": -1}, "above 0"),
    ],
)
def test_steps_that_cannot_be_are_refused(trained, arguments, message):
    with pytest.raises(ValueError, match=message):
        trained.train(input_fn, **arguments)


@pytest.mark.slow
def test_without_a_checkpoint_initial_values_are_evaluated(tmp_path):
    estimator = estimators.Estimator(model_fn, tmp_path)
    results = estimator.evaluate(input_fn, steps=1)
    assert results["global_step"] == 0
    ids, labels = next(batches())
    with mt.TableSet():
        rows = mt.Table(config()).lookup(ids).numpy()
    logits = rows.sum(axis=1)
    assert results["loss"] == pytest.approx(
        np.mean((logits - labels) ** 2), rel=1e-5
    )
    found = next(estimator.predict(input_fn, yield_single_examples=False))
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-5)
    assert estimator.latest_checkpoint() is None


def test_an_export_without_a_checkpoint_says_what_to_do(tmp_path):
    estimator = estimators.Estimator(model_fn, tmp_path)
    with pytest.raises(ValueError, match="Call train first"):
        estimator.export_saved_model(tmp_path / "export", None)


@pytest.mark.slow
def test_a_warm_start_is_for_a_model_without_a_checkpoint(trained, tmp_path):
    def warm(path):
        return estimators.Estimator(
            model_fn,
            tmp_path / "warm",
            params={"rate": 0.5},
            warm_start_from=path,
        )

    first = warm(trained.model_dir)
    expected = next(trained.predict(input_fn))["logits"]
    assert next(first.predict(input_fn))["logits"] == pytest.approx(expected)
    first.train(input_fn, steps=1)
    # What it started from may be gone when it goes on.
    again = warm(tmp_path / "gone").train(input_fn, steps=1)
    assert again.get_variable_value("global_step") == 2


def test_an_estimator_resumes_from_the_newest_whole_checkpoint(tmp_path):
    def make():
        run_config = estimators.RunConfig(save_checkpoints_steps=2)
        return estimators.Estimator(
            model_fn, str(tmp_path), run_config, params={"rate": 0.5}
        )

    make().train(input_fn, steps=4)
    for path in tmp_path.glob("model.ckpt-4.data-*"):
        path.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"resumes from .*model\.ckpt-2\."):
        make().train(input_fn, max_steps=3)
    assert make().latest_checkpoint().endswith("model.ckpt-3")
    for path in tmp_path.glob("*.index"):
        path.unlink()
    with pytest.raises(mt.errors.CheckpointError, match="is whole"):
        make().train(input_fn, steps=1)
