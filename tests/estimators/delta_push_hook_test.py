"""The hook: deltas flow while an Estimator trains, the last before it ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators
from monolith_tf.errors import DeliveryError
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.server import ModelServer

v1 = tf.compat.v1
IDS = np.arange(50, dtype=np.int64)
RECEIVER = estimators.export.build_raw_serving_input_receiver_fn(
    {"item": tf.TensorSpec([None], tf.int64)}
)


def model_fn(features, labels, mode):
    arguments = {
        "optimizer": mt.optimizers.Adagrad(0.1),
        "initializer": mt.initializers.RandomUniform(-0.1, 0.1),
    }
    # An export has to know how far the annealing is.
    one_bit = mt.precisions.OneBit(0.1, anneal_steps=5)
    config = mt.TableConfig(
        "item",
        segments=[
            mt.Segment(3, **arguments),
            mt.Segment(1, precision=one_bit, **arguments),
        ],
    )
    rows = mt.layers.DynamicEmbedding(config)(features["item"])
    kernel = v1.get_variable("kernel", [4, 1])
    logits = tf.matmul(rows, kernel)[:, 0]
    if mode == estimators.ModeKeys.PREDICT:
        return estimators.EstimatorSpec(mode, predictions={"logits": logits})
    loss = v1.losses.sigmoid_cross_entropy(labels, logits)
    optimizer = mt.optimizers.with_tables(v1.train.AdagradOptimizer(0.1))
    return estimators.EstimatorSpec(
        mode,
        loss=loss,
        train_op=optimizer.minimize(loss, v1.train.get_global_step()),
    )


def input_fn():
    ids = np.random.default_rng(0).integers(0, 40, 512)
    labels = (ids % 2).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices(({"item": ids}, labels)).batch(32)


@pytest.fixture
def server(tmp_path):
    """A server of a first version, which the hook's goes over."""
    first = estimators.Estimator(model_fn, tmp_path / "first")
    first.train(input_fn, steps=1)
    base = tmp_path / "models"
    mt.serving.export_saved_model(
        first.serving_model(RECEIVER, first.latest_checkpoint()),
        base,
        inputs={"item": tf.TensorSpec([None], tf.int64)},
    )
    with ModelServer({"ranker": str(base)}, port=0) as server:
        yield server


def hook_of(estimator, port, tmp_path):
    return estimators.DeltaPushHook(
        estimator,
        f"127.0.0.1:{port}",
        "ranker",
        tmp_path / "log",
        tmp_path / "models",
        RECEIVER,
        interval_seconds=0.01,
    )


@pytest.mark.slow
def test_after_training_the_server_equals_the_estimator(server, tmp_path):
    estimator = estimators.Estimator(model_fn, tmp_path / "model")
    hook = hook_of(estimator, server.port, tmp_path)
    estimator.train(input_fn, hooks=[hook])
    assert hook.metrics.rows > 0
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        served = client.predict("ranker", {"item": IDS}).outputs["logits"]
    predicted = estimator.predict(
        lambda: tf.data.Dataset.from_tensors({"item": IDS})
    )
    expected = [prediction["logits"] for prediction in predicted]
    np.testing.assert_allclose(served, expected, rtol=1e-6)


class StoppedPusher:
    """A pusher that an error stopped."""

    def __init__(self, cause):
        self._cause = cause

    def check(self):
        raise DeliveryError("It stopped.") from self._cause


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        # TensorFlow makes a session anew after this one.
        (tf.errors.UnavailableError(None, None, ""), tf.errors.AbortedError),
        (ValueError("of the user"), DeliveryError),
        (None, DeliveryError),
    ],
)
def test_a_server_that_is_gone_recovers_the_session(tmp_path, cause, expected):
    estimator = estimators.Estimator(model_fn, tmp_path)
    hook = hook_of(estimator, 1, tmp_path)
    hook._pusher = StoppedPusher(cause)
    with pytest.raises(expected, match="It stopped"):
        hook.after_run(None, None)


@pytest.mark.slow
def test_a_last_delta_that_nobody_takes_is_an_error(tmp_path):
    estimator = estimators.Estimator(model_fn, tmp_path / "model")
    (port,) = mt.cluster.pick_free_ports(1)
    hook = estimators.DeltaPushHook(
        estimator,
        f"127.0.0.1:{port}",
        "ranker",
        tmp_path / "log",
        tmp_path / "models",
        RECEIVER,
        options=mt.serving.PushOptions(flush_timeout_seconds=0.5),
    )
    with pytest.raises(DeliveryError):
        estimator.train(input_fn, hooks=[hook])
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
