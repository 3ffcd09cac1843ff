"""`mt.pipelined`: rows read ahead, and how stale they are."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

DIM, BATCH = 3, 16


def batches(num, seed=0):
    random = np.random.default_rng(seed)
    ids = random.integers(-25, 25, [num * BATCH])
    return ids, (ids % 2).astype(np.float32)[:, None]


def dataset(num, seed=0):
    return tf.data.Dataset.from_tensor_slices(batches(num, seed)).batch(BATCH)


def make_layer(optimizer, num_shards=2):
    with mt.TableSet(num_shards=num_shards):
        return mt.layers.DynamicEmbedding(
            mt.TableConfig("t", DIM, optimizer=optimizer, seed=5)
        )


def make_model(steps_per_execution, staleness=None, num_shards=2):
    layer = make_layer(mt.optimizers.Adagrad(0.1), num_shards)
    model = tf_keras.Sequential(
        [layer, tf_keras.layers.Dense(1, kernel_initializer="ones")]
    )
    model.compile(
        mt.optimizers.with_tables(tf_keras.optimizers.SGD(0.05)),
        "mse",
        steps_per_execution=steps_per_execution,
    )
    if staleness is not None:
        assert mt.pipelined(model, staleness) is model
    return model


def state(model):
    rows = model.layers[0].table.lookup(np.arange(-25, 25))
    return [rows.numpy(), *(w.numpy() for w in model.layers[1].weights)]


def delayed_training(num_steps, steps_per_execution, staleness):
    """The same training by hand: each step's rows are read in its time."""
    layer = make_layer(mt.optimizers.Adagrad(0.1))
    table = layer.table
    kernel = tf.Variable(tf.ones([DIM, 1]))
    bias = tf.Variable(tf.zeros([1]))
    optimizer = tf_keras.optimizers.SGD(0.05)
    ids, labels = batches(num_steps)
    ids = ids.reshape([num_steps, BATCH])
    labels = labels.reshape([num_steps, BATCH, 1])
    losses = []
    for first in range(0, num_steps, steps_per_execution):
        last = min(first + steps_per_execution, num_steps)
        read = collections.deque()
        next_read = first
        for step in range(first, last):
            while next_read <= min(step + staleness, last - 1):
                read.append(table.lookup(ids[next_read]))
                next_read += 1
            rows = read.popleft()
            with tf.GradientTape() as tape:
                tape.watch(rows)
                loss = tf.reduce_mean(
                    (rows @ kernel + bias - labels[step]) ** 2
                )
            of_rows, *of_dense = tape.gradient(loss, [rows, kernel, bias])
            optimizer.apply_gradients(
                zip(of_dense, [kernel, bias], strict=True)
            )
            table.apply_gradients(ids[step], of_rows)
            losses.append(float(loss))
    rows = table.lookup(np.arange(-25, 25)).numpy()
    return losses, [rows, kernel.numpy(), bias.numpy()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "num_steps", [23, pytest.param(20, marks=pytest.mark.soak)]
)
def test_staleness_0_is_training_as_ever_bit_for_bit(num_steps):
    plain, pipelined = make_model(5), make_model(5, staleness=0)
    for model in (plain, pipelined):
        losses = model.fit(dataset(num_steps), epochs=2, verbose=0).history
    for one, other in zip(state(plain), state(pipelined), strict=True):
        np.testing.assert_array_equal(one, other)
    assert losses["loss"] == plain.history.history["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps_per_execution", "staleness", "num_steps"),
    [(5, 1, 20), (5, 1, 23), (7, 3, 21), (6, 5, 12)],
)
def test_rows_are_as_stale_as_it_says(
    steps_per_execution, staleness, num_steps
):
    model = make_model(steps_per_execution, staleness)
    loss = model.fit(dataset(num_steps), verbose=0).history["loss"][0]
    expected, expected_state = delayed_training(
        num_steps, steps_per_execution, staleness
    )
    np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-5)
    for one, other in zip(state(model), expected_state, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    # And that is not what exact rows give.
    exact, _ = delayed_training(num_steps, steps_per_execution, 0)
    assert not np.allclose(expected, exact, rtol=1e-4)


@pytest.mark.slow
def test_no_gradient_is_lost():
    # Each step adds a power of two to each of its ids: any order, same sums.
    with mt.TableSet(num_shards=3):
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "sums",
                1,
                optimizer=mt.optimizers.SGD(0.5),
                initializer=mt.initializers.Zeros(),
            )
        )
    model = tf_keras.Sequential([layer])
    model.compile(
        mt.optimizers.with_tables("sgd"),
        lambda labels, rows: tf.reduce_sum(rows * labels, axis=-1) * BATCH,
        steps_per_execution=8,
    )
    mt.pipelined(model, 3)
    ids, labels = batches(50)
    model.fit(dataset(50), epochs=2, verbose=0)
    expected = collections.Counter()
    for one, label in zip(ids.tolist(), labels[:, 0], strict=True):
        expected[one] -= 2 * 0.5 * float(label)
    rows = layer.table.lookup(list(expected)).numpy()[:, 0]
    assert rows.tolist() == list(expected.values())


@pytest.mark.slow
def test_several_features_ragged_ids_dropout_and_batch_normalization():
    config = mt.TableConfig("shared", 4, optimizer=mt.optimizers.Adam(0.05))
    features = [
        mt.FeatureConfig("one", config),
        mt.FeatureConfig("many", config, combiner="mean"),
        mt.FeatureConfig("other", mt.TableConfig("other", 2)),
    ]
    with mt.TableSet(num_shards=2):
        layer = mt.layers.EmbeddingCollection(features)
    inputs = {
        "one": tf_keras.Input([], dtype="int64", name="one"),
        "many": tf_keras.Input([None], dtype="int64", ragged=True, name="many"),
        "other": tf_keras.Input([], dtype="int64", name="other"),
    }
    vectors = tf_keras.layers.Concatenate()([*layer(inputs).values()])
    normal = tf_keras.layers.BatchNormalization()
    hidden = tf_keras.layers.Dropout(0.1)(normal(vectors))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(1)(hidden))
    model.compile(
        mt.optimizers.with_tables("adam"), "mse", steps_per_execution=4
    )
    mt.pipelined(model)
    random = np.random.default_rng(0)
    lengths = random.integers(0, 4, 320)
    ids = {
        "one": random.integers(0, 30, 320),
        "many": tf.RaggedTensor.from_row_lengths(
            random.integers(0, 30, lengths.sum()), lengths
        ),
        "other": random.integers(0, 9, 320),
    }
    labels = (ids["other"] % 2).astype(np.float32)[:, None]
    data = tf.data.Dataset.from_tensor_slices((ids, labels)).batch(32)
    losses = model.fit(data, epochs=15, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    # Steps and moving averages count once, though the model is called twice.
    assert int(model.optimizer.iterations) == 150
    before = normal.moving_mean.numpy()
    assert np.abs(before).max() > 0
    sizes = {table.name: table.size() for table in layer.tables}
    assert sizes == {
        "shared": len({*ids["one"], *ids["many"].values.numpy()}),
        "other": 9,
    }


class Shifting(tf_keras.Model):
    """Reads other ids in training than otherwise."""

    def __init__(self, layer, num_lookups=1):
        super().__init__()
        self.layer = layer
        self.dense = tf_keras.layers.Dense(1)
        self._num_lookups = num_lookups

    def call(self, ids, training=False):
        rows = self.layer(ids + 1 if training else ids)
        if training and self._num_lookups == 0:
            rows = tf.zeros_like(rows)
        return self.dense(rows)


def test_ids_that_differ_in_training_fail_and_change_nothing():
    model = Shifting(make_layer(mt.optimizers.SGD(0.5)))
    model.compile(
        mt.optimizers.with_tables("sgd"), "mse", steps_per_execution=4
    )
    mt.pipelined(model)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="not those whose rows were read"
    ):
        model.fit(dataset(8), verbose=0)
    assert model.layer.table.size() == 0


class Skipping(Shifting):
    """Reads nothing in training."""

    def call(self, ids, training=False):
        if training:
            return self.dense(tf.zeros([tf.shape(ids)[0], DIM]))
        return self.dense(self.layer(ids))


def test_rows_that_the_step_does_not_use_are_refused():
    model = Skipping(make_layer(mt.optimizers.SGD(0.5)))
    model.compile(
        mt.optimizers.with_tables("sgd"), "mse", steps_per_execution=4
    )
    mt.pipelined(model)
    with pytest.raises(mt.errors.ReadAheadError, match="did not use"):
        model.fit(dataset(8), verbose=0)


@pytest.mark.parametrize(
    ("compile_options", "message"),
    [
        ({"steps_per_execution": 2}, "larger than the staleness.*=2.*=2"),
        ({"run_eagerly": True}, "graphs.*run_eagerly=True"),
        ({"steps_per_execution": "auto"}, "unrolled"),
    ],
)
def test_what_fit_refuses(compile_options, message):
    model = tf_keras.Sequential([make_layer(mt.optimizers.SGD(0.5))])
    model.compile(mt.optimizers.with_tables("sgd"), "mse", **compile_options)
    mt.pipelined(model, 2)
    with pytest.raises(ValueError, match=message):
        model.fit(dataset(4), verbose=0)


@pytest.mark.parametrize(
    ("model", "staleness", "error", "message"),
    [
        (None, 1, TypeError, "tf_keras model.*None"),
        (tf_keras.Sequential(), -1, ValueError, "staleness=-1"),
        (tf_keras.Sequential(), 1.5, TypeError, "1.5.*float"),
        (tf_keras.Sequential(), True, TypeError, "bool"),
    ],
)
def test_what_is_refused_at_once(model, staleness, error, message):
    with pytest.raises(error, match=message):
        mt.pipelined(model, staleness)
