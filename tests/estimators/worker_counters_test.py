"""Where the time of a step goes, as a worker counts it."""

import threading

import numpy as np
import prometheus_client
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf import ops

PAUSE_SECONDS = 0.05
IDS = tf.range(5, dtype=tf.int64)


def counters():
    names = ("lookups", "lookup_ns", "steps", "dense_ns")
    return dict(zip(names, ops.worker_counters().numpy().tolist()))


def grown(run):
    before = counters()
    run()
    return {name: value - before[name] for name, value in counters().items()}


def pause(vectors):
    """Takes its time where the dense model would."""

    def wait(value):
        threading.Event().wait(PAUSE_SECONDS)
        return value

    return vectors + tf.stop_gradient(
        tf.py_function(wait, [vectors], tf.float32)
    )


@pytest.fixture
def layer():
    return mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=2))


def trainer(*layers):
    """A step whose model takes PAUSE_SECONDS at least."""
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = sum(
                tf.reduce_sum(pause(one(ids + number)))
                for number, one in enumerate(layers)
            )
        weights = [
            weight for one in layers for weight in one.trainable_variables
        ]
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients(zip(gradients, weights))

    # Of constants, or the same ids twice, TensorFlow would route them once.
    return lambda: step(IDS)


def test_a_step_is_split_into_lookup_and_dense(layer):
    step = trainer(layer)
    step()
    found = grown(lambda: [step() for _ in range(3)])
    assert (found["lookups"], found["steps"]) == (3, 3)
    assert found["dense_ns"] >= 3 * PAUSE_SECONDS * 1e9
    assert 0 < found["lookup_ns"] < found["dense_ns"]


def test_an_evaluation_has_a_lookup_alone(layer):
    evaluate = tf.function(layer)
    evaluate(IDS)
    found = grown(lambda: evaluate(IDS))
    assert (found["lookups"], found["steps"], found["dense_ns"]) == (1, 0, 0)
    assert found["lookup_ns"] > 0


def test_many_table_sets_are_one_step(layer):
    with mt.TableSet():
        other = mt.layers.DynamicEmbedding(mt.TableConfig("user", dim=2))
    step = trainer(layer, other)
    step()
    found = grown(step)
    assert (found["lookups"], found["steps"]) == (2, 1)


def test_gradients_without_a_lookup_are_no_step(layer):
    found = grown(
        lambda: layer.table.apply_gradients(IDS, np.ones([5, 2], np.float32))
    )
    assert found["steps"] == 0


def test_prometheus_is_told_in_seconds(layer):
    registry = prometheus_client.CollectorRegistry()
    registry.register(mt.cluster.WorkerCollector())
    step = trainer(layer)
    step()
    name = "monolith_worker_dense_seconds_total"
    before = registry.get_sample_value(name)
    step()
    assert registry.get_sample_value(name) - before >= PAUSE_SECONDS
    assert registry.get_sample_value("monolith_worker_lookups_total") > 0
