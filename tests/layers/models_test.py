"""Models of every kind train their tables with stock Keras methods."""

import gc

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
import processes
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.registry import tables_of

IDS = np.array([[1, 2], [2, 2], [-7, 1], [2**40, 5]], np.int64)
LABELS = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


def make_config(optimizer=None, dim=2):
    return mt.TableConfig(
        "movie",
        dim=dim,
        optimizer=optimizer or mt.optimizers.SGD(0.5),
        initializer=mt.initializers.Constant(1.0),
    )


def dense(units=1):
    return tf_keras.layers.Dense(units, kernel_initializer="ones")


def functional():
    inputs = tf_keras.Input([2], dtype="int64")
    vectors = mt.layers.DynamicEmbedding(make_config(), "sum")(inputs)
    return tf_keras.Model(inputs, dense()(vectors))


def sequential():
    return tf_keras.Sequential(
        [
            tf_keras.Input([2], dtype="int64"),
            mt.layers.DynamicEmbedding(make_config(), "sum"),
            dense(),
        ]
    )


class Subclassed(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = mt.layers.DynamicEmbedding(make_config(), "sum")
        self.top = dense()

    def call(self, inputs):
        return self.top(self.embedding(inputs))


def subclassed():
    return Subclassed()


def table_of(model):
    (table,) = tables_of(model)
    return table


def compiled(build, **kwargs):
    with mt.TableSet():
        model = build()
    model.compile(mt.optimizers.with_tables("sgd"), "mse", **kwargs)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("build", [functional, sequential, subclassed])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_one_step_of_fit_is_the_step_computed_by_hand(build, run_eagerly):
    model = compiled(build, run_eagerly=run_eagerly)
    # One example: both rows are [1, 1], so the prediction is 4 and, for the
    # label 0, d loss / d prediction = 2 * 4 = 8. Id 1 stands there once and 2
    # once; each element of a row gets the gradient 8, times the rate 0.5.
    model.fit(IDS[:1], LABELS[:1], verbose=0)
    rows = table_of(model).lookup([1, 2, 5]).numpy()
    np.testing.assert_array_equal(rows, [[-3, -3], [-3, -3], [1, 1]])
    assert table_of(model).size() == 2
    assert model.optimizer.iterations.numpy() == 1


@pytest.mark.slow
@pytest.mark.parametrize("build", [functional, subclassed])
def test_evaluate_and_predict_change_nothing(build):
    model = compiled(build)
    model.fit(IDS[:1], LABELS[:1], verbose=0)
    before = dict_of(table_of(model))
    predictions = model.predict(IDS, verbose=0)
    loss = model.evaluate(IDS, LABELS, verbose=0)
    np.testing.assert_allclose(
        loss, np.mean((predictions[:, 0] - LABELS) ** 2), rtol=1e-6
    )
    np.testing.assert_allclose(model(IDS), predictions, rtol=1e-6)
    assert dict_of(table_of(model)) == before


def dict_of(table):
    """Id to (weights and slots), for comparisons with ==."""
    return {
        int(one): row.tobytes()
        for ids, _, rows in export_rows(table)
        for one, row in zip(ids, rows, strict=True)
    }


@pytest.mark.slow
def test_a_model_learns_what_only_ids_tell():
    # From 1 in 12 initial kernels the loss does not come down far enough.
    kernel = tf_keras.initializers.Constant([[0.6], [-0.6], [0.6], [-0.6]])
    with mt.TableSet():
        inputs = tf_keras.Input([], dtype="int64")
        vectors = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=4, optimizer=mt.optimizers.Adagrad(1.0))
        )(inputs)
        model = tf_keras.Model(
            inputs,
            tf_keras.layers.Dense(
                1, activation="sigmoid", kernel_initializer=kernel
            )(vectors),
        )
    model.compile(mt.optimizers.with_tables("adam"), "binary_crossentropy")
    ids = np.random.default_rng(0).integers(-(2**62), 2**62, 64)
    labels = (np.arange(64) % 2).astype(np.float32)
    history = model.fit(
        np.tile(ids, 8), np.tile(labels, 8), epochs=12, verbose=0
    ).history["loss"]
    assert history[-1] < 0.1 < 0.5 < history[0]
    assert model.layers[1].table.size() == 64


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_execution", [2, 4])
def test_steps_per_execution_gives_the_rows_of_single_steps(
    steps_per_execution,
):
    random = np.random.default_rng(1)
    ids = random.integers(0, 9, (32, 2))
    labels = random.normal(size=32).astype(np.float32) / 8
    tables = []
    for steps in (1, steps_per_execution):
        model = compiled(functional, steps_per_execution=steps)
        model.optimizer.learning_rate = 0.01
        model.fit(ids, labels, batch_size=4, shuffle=False, epochs=2, verbose=0)
        assert model.optimizer.iterations.numpy() == 16
        tables.append(dict_of(table_of(model)))
    assert tables[0] == tables[1]
    assert len(tables[0]) == 9


def test_a_dataset_of_ragged_batches_that_vary_in_length_trains():
    with mt.TableSet():
        inputs = tf_keras.Input([None], dtype="int64", ragged=True)
        vectors = mt.layers.DynamicEmbedding(make_config(), "mean")(inputs)
        model = tf_keras.Model(inputs, dense()(vectors))
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    lists = tf.ragged.constant([[1, 2], [], [3], [4, 4, 4], [5]], tf.int64)
    data = tf.data.Dataset.from_tensor_slices((lists, np.zeros(5, "f")))
    model.fit(data.batch(2), verbose=0)
    assert sorted(dict_of(table_of(model))) == [1, 2, 3, 4, 5]


def test_two_models_of_one_function_have_tables_of_their_own():
    # Without a TableSet, as most programs are written.
    first, second = functional(), functional()
    for model in (first, second):
        model.compile(mt.optimizers.with_tables("sgd"), "mse")
    first.fit(IDS[:1], LABELS[:1], verbose=0)
    assert table_of(first) is not table_of(second)
    assert table_of(first).size() == 2
    assert table_of(second).size() == 0
    second.fit(IDS[1:2], LABELS[1:2], verbose=0)
    assert table_of(first).size() == 2
    assert sorted(dict_of(table_of(second))) == [2]


def test_a_layer_in_two_models_shares_its_rows():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(make_config(), "sum")
    models = []
    for _ in range(2):
        inputs = tf_keras.Input([2], dtype="int64")
        models.append(tf_keras.Model(inputs, dense()(layer(inputs))))
        models[-1].compile(mt.optimizers.with_tables("sgd"), "mse")
    models[0].fit(IDS[:1], LABELS[:1], verbose=0)
    # The rows of both ids are [-3, -3] now, and the other model's kernel ones.
    assert models[1].predict(IDS[:1], verbose=0).tolist() == [[-12.0]]


@pytest.mark.slow
def test_the_rows_of_a_model_that_is_gone_are_freed():
    def train_and_forget():
        model = compiled(functional)
        model.fit(IDS, LABELS, verbose=0)
        return table_of(model).table_set

    table_set = train_and_forget()
    tf_keras.backend.clear_session()
    gc.collect()
    assert table_set.tables == []


@pytest.mark.slow
def test_one_replica_of_a_strategy_is_like_none():
    for strategy in (
        tf.distribute.OneDeviceStrategy("/cpu:0"),
        tf.distribute.MirroredStrategy(["/cpu:0"]),
    ):
        with strategy.scope(), mt.TableSet():
            model = functional()
            model.compile(mt.optimizers.with_tables("sgd"), "mse")
        model.fit(IDS[:1], LABELS[:1], verbose=0)
        rows = table_of(model).lookup([1, 2]).numpy()
        np.testing.assert_array_equal(rows, [[-3, -3], [-3, -3]])


@pytest.mark.e2e
def test_several_replicas_are_refused(tmp_path):
    program = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
import tf_keras
import monolith_tf as mt
strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
config = mt.TableConfig("movie", dim=2)
try:
    with strategy.scope():
        mt.layers.DynamicEmbedding(config)
except ValueError as error:
    print("REFUSED", error)
layer = mt.layers.DynamicEmbedding(config)
optimizer = mt.optimizers.with_tables("sgd")
@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant([1], tf.int64)))
    variables = layer.trainable_variables
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables))
try:
    strategy.run(step)
except ValueError as error:
    print("REFUSED", error)
print("ROWS", layer.table.size())
"""
    result = processes.run(
        [*processes.PYTHON, "-c", program], code=None, cwd=tmp_path
    )
    refusals = [
        line
        for line in result.stdout.splitlines()
        if line.startswith("REFUSED")
    ]
    assert len(refusals) >= 1, result.stdout + result.stderr
    assert "with 2 replicas" in refusals[0]
    assert "ParameterServerStrategy" in refusals[0]
    assert "ROWS 0" in result.stdout, result.stdout + result.stderr
