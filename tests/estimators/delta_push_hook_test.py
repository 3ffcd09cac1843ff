"""The hook: deltas flow while an Estimator trains, the last before it ends."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import estimators
from monolith_tf.errors import DeliveryError
from monolith_tf.estimators import delta_push_hook
from monolith_tf.estimators.session_tables import SessionTableSet
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


def served_equals(estimator, server):
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        served = client.predict("ranker", {"item": IDS}).outputs["logits"]
    predicted = estimator.predict(
        lambda: tf.data.Dataset.from_tensors({"item": IDS})
    )
    expected = [prediction["logits"] for prediction in predicted]
    return np.allclose(served, expected, rtol=1e-6)


@pytest.mark.slow
def test_after_training_the_server_equals_the_estimator(server, tmp_path):
    estimator = estimators.Estimator(model_fn, tmp_path / "model")
    hook = hook_of(estimator, server.port, tmp_path)
    estimator.train(input_fn, hooks=[hook])
    assert hook.metrics.rows > 0
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
    assert served_equals(estimator, server)


@pytest.mark.slow
def test_a_read_that_fails_while_training_costs_neither_steps_nor_an_export(
    server, tmp_path, monkeypatch
):
    estimator = estimators.Estimator(model_fn, tmp_path / "model")
    hook = hook_of(estimator, server.port, tmp_path)
    monkeypatch.setattr(delta_push_hook, "_RESTART_SECONDS", 0.0)
    failures = [lost()]
    take_delta = SessionTableSet.take_delta

    def take(self, shard, acked_cut):
        if failures:
            raise failures.pop()
        return take_delta(self, shard, acked_cut)

    monkeypatch.setattr(SessionTableSet, "take_delta", take)
    created = []

    class Watch(v1.train.SessionRunHook):
        def after_create_session(self, session, coord):
            created.append(session)

    estimator.train(input_fn, hooks=[hook, Watch()])
    assert not failures
    assert len(created) == 1
    # That of the server, and one of the hook.
    assert len(list((tmp_path / "models").iterdir())) == 2
    assert served_equals(estimator, server)


class Pusher:
    """A pusher of which only the end is real."""

    def __init__(self, cause=None):
        self.cause = cause
        self.record = "the export"
        self.was_flushed = False

    def start(self):
        pass

    def check(self):
        if self.cause is not None:
            raise DeliveryError("It stopped.") from self.cause

    def close(self, flush=True):
        self.was_flushed = flush
        self.check()


class Pushers:
    """Makes the given pushers, one after the other; raises those errors."""

    def __init__(self, hook, *pushers):
        self._hook = hook
        self._pushers = list(pushers)
        self.records = []

    def __call__(self):
        self.records.append(self._hook.record)
        pusher = self._pushers.pop(0)
        if isinstance(pusher, Exception):
            raise pusher
        return pusher


def lost():
    return tf.errors.UnavailableError(None, None, "A read was lost.")


@pytest.fixture
def hook(tmp_path):
    return hook_of(estimators.Estimator(model_fn, tmp_path), 1, tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """The time of the hook, a list of one number."""
    now = [100.0]
    monkeypatch.setattr(delta_push_hook.time, "monotonic", lambda: now[0])
    return now


def test_a_read_that_fails_starts_the_pusher_again_with_the_same_export(
    hook, clock
):
    failed, fresh = Pusher(lost()), Pusher()
    hook._make_pusher = made = Pushers(hook, failed, lost(), fresh)
    hook.record = "the export"
    hook._start()
    clock[0] += 5.0
    # Nothing is raised: a step of the training goes on.
    hook.after_run(None, None)
    assert hook._pusher is None
    hook.after_run(None, None)
    assert len(made.records) == 2
    clock[0] += 1.0
    hook.after_run(None, None)
    assert hook._pusher is fresh
    assert made.records == ["the export"] * 3
    hook.end(None)
    assert fresh.was_flushed
    hook.raise_error()


def test_a_pusher_that_fails_at_once_is_not_started_with_every_step(
    hook, clock
):
    hook._make_pusher = made = Pushers(hook, Pusher(lost()), Pusher())
    hook._start()
    for _ in range(3):
        hook.after_run(None, None)
    assert len(made.records) == 1
    clock[0] += 1.0
    hook.after_run(None, None)
    assert len(made.records) == 2


def test_a_read_that_fails_in_the_last_push_is_repeated(hook):
    last = Pusher()
    hook._make_pusher = Pushers(hook, Pusher(lost()), last)
    hook._start()
    hook.end(None)
    assert last.was_flushed
    hook.raise_error()


def test_a_last_push_that_fails_twice_is_an_error_after_the_checkpoint(hook):
    hook._make_pusher = Pushers(hook, Pusher(lost()), lost())
    hook._start()
    hook.end(None)
    with pytest.raises(tf.errors.UnavailableError, match="A read was lost"):
        hook.raise_error()


@pytest.mark.parametrize("cause", [ValueError("of the user"), None])
def test_another_error_of_the_pusher_ends_the_training(hook, cause):
    hook._pusher = pusher = Pusher()
    error = DeliveryError("It stopped.")
    error.__cause__ = cause

    def check():
        raise error

    pusher.check = check
    with pytest.raises(DeliveryError, match="It stopped"):
        hook.after_run(None, None)


def test_an_error_of_the_start_that_is_not_a_lost_server_ends_the_training(
    hook, clock
):
    error = tf.errors.InvalidArgumentError(None, None, "A bad argument.")
    hook._make_pusher = Pushers(hook, Pusher(lost()), error)
    hook._start()
    clock[0] += 5.0
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad argument"):
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
    # The last checkpoint is there all the same: 512 examples are 16 steps.
    assert estimator.latest_checkpoint().endswith("model.ckpt-16")
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
