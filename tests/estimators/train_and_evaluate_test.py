"""train_and_evaluate without a cluster, its exporters, and its evaluator."""

from __future__ import annotations

import json
import os

import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators

v1 = tf.compat.v1


def model_fn(features, labels, mode):
    config = mt.TableConfig(
        "movie",
        1,
        optimizer=mt.optimizers.SGD(0.25),
        initializer=mt.initializers.Zeros(),
    )
    score = mt.layers.DynamicEmbedding(config)(features["ids"])[:, 0]
    if mode == estimators.ModeKeys.PREDICT:
        return estimators.EstimatorSpec(mode, predictions={"score": score})
    loss = tf.reduce_sum(tf.square(score - labels))
    optimizer = mt.optimizers.with_tables(
        v1.train.GradientDescentOptimizer(0.1)
    )
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


def input_fn():
    return tf.data.Dataset.from_tensors(
        ({"ids": tf.constant([1, 2], tf.int64)}, [1.0, 2.0])
    ).repeat()


RECEIVER = estimators.export.build_raw_serving_input_receiver_fn(
    {"ids": tf.TensorSpec([None], tf.int64)}
)


def estimator_in(directory):
    config = estimators.RunConfig(
        str(directory), save_checkpoints_steps=2, tf_random_seed=1
    )
    return estimators.Estimator(model_fn, config=config)


def versions(directory, name):
    return [n for n in os.listdir(directory / "export" / name) if n.isdigit()]


@pytest.mark.slow
def test_every_checkpoint_is_evaluated_and_exported(tmp_path):
    results, exports = estimators.train_and_evaluate(
        estimator_in(tmp_path),
        estimators.TrainSpec(input_fn, max_steps=6),
        estimators.EvalSpec(
            input_fn,
            steps=1,
            exporters=[
                estimators.LatestExporter(
                    "latest", RECEIVER, exports_to_keep=2
                ),
                estimators.FinalExporter("final", RECEIVER),
                estimators.BestExporter("best", RECEIVER),
            ],
            throttle_secs=0,
        ),
    )
    # Halved at every step: the rows are (1 - 2^-6) of the labels.
    assert results["global_step"] == 6
    assert results["loss"] == 5 * 4.0**-6
    assert len(versions(tmp_path, "latest")) == 2
    assert len(versions(tmp_path, "final")) == 1
    assert len(versions(tmp_path, "best")) >= 3
    best = json.loads((tmp_path / "export/best/best_result.json").read_text())
    assert best["loss"] == results["loss"]
    serve = tf.saved_model.load(exports[1].path).signatures["serving_default"]
    found = serve(ids=tf.constant([1, 2], tf.int64))["score"]
    assert found.numpy().tolist() == [1 - 2.0**-6, 2 - 2.0**-5]


@pytest.mark.slow
def test_the_best_exporter_passes_over_what_is_not_better(tmp_path):
    estimator = estimator_in(tmp_path / "model")
    estimator.train(input_fn, steps=2)
    exporter = estimators.BestExporter("best", RECEIVER)
    folder = str(tmp_path / "best")
    os.makedirs(folder)

    def export(loss):
        return exporter.export(
            estimator, folder, estimator.latest_checkpoint(), {"loss": loss}, 0
        )

    assert export(1.0) is not None
    assert export(1.0) is None
    assert export(2.0) is None
    assert export(0.5) is not None


@pytest.mark.slow
def test_an_evaluator_follows_the_checkpoints_to_the_last(
    tmp_path, monkeypatch
):
    estimator_in(tmp_path).train(input_fn, max_steps=4)
    cluster = {"chief": ["a:1"], "ps": ["b:1"]}
    monkeypatch.setenv(
        "TF_CONFIG",
        json.dumps({"cluster": cluster, "task": {"type": "evaluator"}}),
    )
    estimators.train_and_evaluate(
        estimator_in(tmp_path),
        estimators.TrainSpec(input_fn, max_steps=4),
        estimators.EvalSpec(
            input_fn,
            steps=1,
            name="slow",
            exporters=estimators.FinalExporter("final", RECEIVER),
            start_delay_secs=0,
        ),
    )
    assert os.listdir(tmp_path / "eval_slow")
    assert len(versions(tmp_path, "final")) == 1


@pytest.mark.slow
def test_an_evaluator_goes_on_when_a_checkpoint_is_removed_under_it(
    tmp_path, monkeypatch
):
    chief = estimator_in(tmp_path)
    chief.train(input_fn, max_steps=2)
    monkeypatch.setenv("TF_CONFIG", '{"task": {"type": "evaluator"}}')
    evaluator = estimator_in(tmp_path)
    evaluate = evaluator.evaluate
    seen = []

    def evaluate_later(*args, checkpoint_path, **kwargs):
        seen.append(os.path.basename(checkpoint_path))
        if len(seen) == 1:
            chief.train(input_fn, max_steps=4)
            for path in tmp_path.glob(f"{seen[0]}.*"):
                path.unlink()
        return evaluate(*args, checkpoint_path=checkpoint_path, **kwargs)

    monkeypatch.setattr(evaluator, "evaluate", evaluate_later)
    estimators.train_and_evaluate(
        evaluator,
        estimators.TrainSpec(input_fn, max_steps=4),
        estimators.EvalSpec(input_fn, steps=1, start_delay_secs=0),
    )
    assert seen == ["model.ckpt-2", "model.ckpt-4"]


def test_an_evaluator_says_what_is_wrong_with_a_checkpoint_that_is_there(
    tmp_path, monkeypatch
):
    estimator_in(tmp_path).train(input_fn, max_steps=2)
    monkeypatch.setenv("TF_CONFIG", '{"task": {"type": "evaluator"}}')
    evaluator = estimator_in(tmp_path)

    def evaluate(*args, **kwargs):
        raise ValueError("the model does not fit")

    monkeypatch.setattr(evaluator, "evaluate", evaluate)
    with pytest.raises(ValueError, match="does not fit"):
        estimators.train_and_evaluate(
            evaluator,
            estimators.TrainSpec(input_fn, max_steps=4),
            estimators.EvalSpec(input_fn, start_delay_secs=0),
        )


def test_an_evaluator_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"task": {"type": "evaluator"}}')
    with pytest.raises(ValueError, match="needs TrainSpec"):
        estimators.train_and_evaluate(
            estimator_in(tmp_path),
            estimators.TrainSpec(input_fn),
            estimators.EvalSpec(input_fn, start_delay_secs=0),
        )


def test_exporters_of_one_name_are_refused():
    with pytest.raises(ValueError, match="different names"):
        estimators.EvalSpec(
            input_fn,
            exporters=[
                estimators.FinalExporter("a", RECEIVER),
                estimators.LatestExporter("a", RECEIVER),
            ],
        )


def test_listeners_and_hooks_are_called(tmp_path):
    calls = []

    class Listener(v1.train.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            calls.append(int(global_step_value))

    class Hook(v1.train.SessionRunHook):
        def end(self, session):
            calls.append("end")

    estimator_in(tmp_path).train(
        input_fn, hooks=[Hook()], steps=4, saving_listeners=[Listener()]
    )
    assert sorted(calls, key=str) == [0, 2, 4, "end"]
