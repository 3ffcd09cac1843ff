"""Tables whose rows and gradients travel in 16 bits."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows

NARROW = [tf.bfloat16, tf.float16]


def make(dtype, optimizer, num_shards=2):
    with mt.TableSet(num_shards=num_shards, wire_dtype=dtype):
        return mt.Table(mt.TableConfig("t", dim=5, optimizer=optimizer, seed=4))


def rounded(floats, dtype):
    return tf.cast(tf.cast(floats, dtype), tf.float32).numpy()


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("num_shards", [1, 3])
def test_rows_and_gradients_are_rounded_and_nothing_else(dtype, num_shards):
    random = np.random.default_rng(2)
    exact = make(tf.float32, mt.optimizers.Adam(0.037))
    narrow = make(dtype, mt.optimizers.Adam(0.037), num_shards)
    for _ in range(10):
        ids = random.integers(-20, 20, 30)
        # Each id once: gradients are summed before they are sent.
        ids = np.unique(ids)
        gradients = random.normal(size=[len(ids), 5]).astype(np.float32)
        exact.apply_gradients(ids, rounded(gradients, dtype))
        narrow.apply_gradients(ids, gradients)
        np.testing.assert_array_equal(
            narrow.lookup(ids), rounded(exact.lookup(ids), dtype)
        )

    def stored(table):
        ids, _, rows = map(
            np.concatenate, zip(*export_rows(table), strict=True)
        )
        return ids[np.argsort(ids)], rows[np.argsort(ids)]

    # Weights and slots are those of the exact table, the learning rate too.
    for one, other in zip(stored(exact), stored(narrow), strict=True):
        np.testing.assert_array_equal(one, other)


def test_equal_ids_are_summed_before_they_are_rounded():
    table = make(tf.bfloat16, mt.optimizers.SGD(1.0))
    table.assign([7], np.zeros([1, 5], np.float32))
    # 2^-9 would be lost beside 1, eight of them are not.
    gradients = np.full([9, 5], 2.0**-9, np.float32)
    gradients[0] = 1.0
    table.apply_gradients([7] * 9, gradients)
    np.testing.assert_array_equal(table.lookup([7])[0], [-1.015625] * 5)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", NARROW)
def test_keras_fit_learns_about_the_same(dtype):
    def losses(wire_dtype):
        with mt.TableSet(num_shards=2, wire_dtype=wire_dtype):
            layer = mt.layers.DynamicEmbedding(
                mt.TableConfig(
                    "t", 8, optimizer=mt.optimizers.Adagrad(0.5), seed=1
                )
            )
        ids = tf_keras.Input([3], dtype="int64")
        rows = tf_keras.layers.Flatten()(layer(ids))
        model = tf_keras.Model(
            ids,
            tf_keras.layers.Dense(
                1, "sigmoid", kernel_initializer=tf_keras.initializers.Ones()
            )(rows),
        )
        model.compile(mt.optimizers.with_tables("sgd"), "binary_crossentropy")
        numbers = np.random.default_rng(0).integers(0, 50, [256, 3])
        labels = (numbers[:, 0] % 2).astype(np.float32)[:, None]
        return model.fit(
            numbers, labels, batch_size=32, epochs=20, shuffle=False, verbose=0
        ).history["loss"]

    exact, narrow = losses("float32"), losses(dtype)
    assert exact[-1] < 0.85 * exact[0]
    np.testing.assert_allclose(narrow, exact, rtol=0.02)
    assert narrow != exact


@pytest.mark.parametrize(
    ("dtype", "error", "message"),
    [
        ("float64", ValueError, r"one of .*bfloat16.*Received.*float64"),
        (tf.int8, ValueError, "int8"),
        ("wide", TypeError, "wide"),
    ],
)
def test_other_dtypes_are_refused(dtype, error, message):
    with pytest.raises(error, match=message):
        mt.TableSet(wire_dtype=dtype)
