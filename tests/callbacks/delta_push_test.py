"""The callback: deltas flow during `fit`, the last before it returns."""

import threading

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.errors import DeliveryError
from monolith_tf.serving import PushOptions
from monolith_tf.serving import export_saved_model
from monolith_tf.serving.client import PredictionClient
from monolith_tf.serving.server import ModelServer

IDS = np.arange(50, dtype=np.int64)


@pytest.fixture
def model():
    with mt.TableSet(num_shards=2):
        ids = tf_keras.Input([], dtype="int64", name="item")
        config = mt.TableConfig(
            "item",
            dim=4,
            optimizer=mt.optimizers.Adagrad(learning_rate=0.1),
            initializer=mt.initializers.RandomUniform(-0.1, 0.1),
        )
        rows = mt.layers.DynamicEmbedding(config)(ids)
        click = tf_keras.layers.Dense(1, activation="sigmoid")(rows)
        model = tf_keras.Model({"item": ids}, {"click": click})
    model.compile(mt.optimizers.with_tables("sgd"), "binary_crossentropy")
    return model


@pytest.fixture
def base_path(tmp_path):
    return str(tmp_path / "models")


@pytest.fixture
def server(model, base_path):
    export_saved_model(model, base_path)
    with ModelServer({"ranker": base_path}, port=0) as server:
        yield server


def examples():
    random = np.random.default_rng(0)
    ids = random.integers(0, 40, 256)
    return tf.data.Dataset.from_tensor_slices(
        ({"item": ids}, {"click": (ids % 2).astype(np.float32)[:, None]})
    ).batch(32)


def make_push(server, tmp_path, **arguments):
    return mt.callbacks.DeltaPush(
        f"127.0.0.1:{server if isinstance(server, int) else server.port}",
        "ranker",
        str(tmp_path / "log"),
        str(tmp_path / "models" / "1"),
        interval_seconds=0.01,
        **arguments,
    )


def assert_served_equal(server, model):
    with PredictionClient(f"127.0.0.1:{server.port}") as client:
        served = client.predict("ranker", {"item": IDS}).outputs["click"]
        rows = client.predict("ranker", {"ids": IDS}, "monolith_lookup_0")
    trained = model({"item": tf.constant(IDS)})["click"].numpy()
    np.testing.assert_allclose(served, trained, rtol=1e-6)
    (table,) = model.layers[1].tables
    np.testing.assert_array_equal(
        rows.outputs["rows"], table.lookup(tf.constant(IDS)).numpy()
    )


@pytest.mark.slow
def test_after_fit_the_server_equals_the_model(model, server, tmp_path):
    push = make_push(server, tmp_path)
    model.fit(examples(), epochs=2, verbose=0, callbacks=[push])
    assert push.metrics.rows > 0
    assert push.pusher is None
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
    assert_served_equal(server, model)


@pytest.mark.slow
def test_a_second_fit_goes_on_with_the_same_export(model, server, tmp_path):
    push = make_push(server, tmp_path)
    for _ in range(2):
        model.fit(examples(), verbose=0, callbacks=[push])
    assert push.metrics.resyncs == 0
    assert_served_equal(server, model)


@pytest.mark.slow
def test_fit_raises_when_the_last_delta_was_not_taken(
    model, base_path, tmp_path
):
    export_saved_model(model, base_path)
    options = PushOptions(max_attempts=1, flush_timeout_seconds=0.1)
    push = make_push(9, tmp_path, options=options)
    with pytest.raises(DeliveryError, match="127.0.0.1:9 .*not acknowledged"):
        model.fit(examples(), verbose=0, callbacks=[push])


@pytest.mark.slow
def test_what_stops_the_thread_is_raised_by_fit(model, server, tmp_path):
    push = make_push(server, tmp_path)

    class Restore(tf_keras.callbacks.Callback):
        """Makes the deltas impossible, without an export_fn to go on."""

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                model.load_weights(str(tmp_path / "weights"))
                push.pusher._thread.join()

    model.save_weights(str(tmp_path / "weights"))
    with pytest.raises(DeliveryError, match="Expected `export_fn`"):
        model.fit(examples(), epochs=9, verbose=0, callbacks=[Restore(), push])
    push.close()


def test_close_after_a_fit_that_failed_joins_the_thread(
    model, server, tmp_path
):
    class Fail(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("power cut")

    with make_push(server, tmp_path) as push:
        with pytest.raises(RuntimeError, match="power cut"):
            model.fit(examples(), verbose=0, callbacks=[Fail(), push])
    assert not any(t.name == "delta pusher" for t in threading.enumerate())
