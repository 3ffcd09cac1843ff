"""Models of every kind of Keras 3 train their tables with stock methods."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import monolith_tf as mt
from monolith_tf.placement.registry import tables_of

IDS = np.array([[1, 2], [2, 2], [-7, 1], [2**40, 5]], np.int64)
LABELS = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


def dense():
    return keras.layers.Dense(1, kernel_initializer="ones")


def functional(config):
    inputs = keras.Input([2], dtype="int64")
    vectors = mt.keras3.DynamicEmbedding(config, "sum")(inputs)
    return keras.Model(inputs, dense()(vectors))


def sequential(config):
    return keras.Sequential(
        [
            keras.Input([2], dtype="int64"),
            mt.keras3.DynamicEmbedding(config, "sum"),
            dense(),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self, config):
        super().__init__()
        self.embedding = mt.keras3.DynamicEmbedding(config, "sum")
        self.top = dense()

    def call(self, inputs):
        return self.top(self.embedding(inputs))


class OwnTrainStep(Subclassed):
    def train_step(self, data):
        ids, labels = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                (self(ids, training=True)[:, 0] - labels) ** 2
            )
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


KINDS = [functional, sequential, Subclassed, OwnTrainStep]


def compiled(build, config, optimizer="sgd", **kwargs):
    with mt.TableSet():
        model = build(config)
    model.compile(mt.keras3.with_tables(optimizer), "mse", **kwargs)
    (table,) = tables_of(model)
    return model, table


@pytest.mark.parametrize("build", KINDS)
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_one_step_of_fit_is_the_step_computed_by_hand(
    make_config, build, run_eagerly
):
    model, table = compiled(build, make_config(), run_eagerly=run_eagerly)
    # One example: both rows are [1, 1], so the prediction is 4 and, for the
    # label 0, d loss / d prediction = 2 * 4 = 8. Id 1 stands there once and 2
    # once; each element of a row gets the gradient 8, times the rate 0.5.
    model.fit(IDS[:1], LABELS[:1], verbose=0)
    rows = table.lookup([1, 2, 5]).numpy()
    np.testing.assert_array_equal(rows, [[-3, -3], [-3, -3], [1, 1]])
    assert table.size() == 2
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize("build", [functional, Subclassed])
def test_evaluate_and_predict_change_nothing(make_config, contents, build):
    model, _ = compiled(build, make_config())
    model.fit(IDS[:1], LABELS[:1], verbose=0)
    before = contents(model)
    predictions = model.predict(IDS, verbose=0)
    loss = model.evaluate(IDS, LABELS, verbose=0)
    np.testing.assert_allclose(
        loss, np.mean((predictions[:, 0] - LABELS) ** 2), rtol=1e-6
    )
    np.testing.assert_allclose(model(IDS), predictions, rtol=1e-6)
    assert contents(model) == before


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_execution", [2, 4])
def test_steps_per_execution_gives_the_rows_of_single_steps(
    make_config, assert_same_state, steps_per_execution
):
    models = []
    for steps in (1, steps_per_execution):
        config = make_config(optimizer=mt.optimizers.Adam(0.1))
        model, _ = compiled(
            functional, config, "adam", steps_per_execution=steps
        )
        model.fit(IDS, LABELS, batch_size=1, shuffle=False, verbose=0)
        models.append(model)
    assert_same_state(*models)


def test_train_on_batch_trains(make_config):
    model, table = compiled(functional, make_config())
    model.train_on_batch(IDS[:1], LABELS[:1])
    assert table.lookup([1]).numpy().tolist() == [[-3, -3]]


@pytest.mark.parametrize("in_function", [False, True])
def test_a_loop_of_ones_own_trains_layers_and_tables(make_config, in_function):
    with mt.TableSet():
        layer = mt.keras3.DynamicEmbedding(make_config())
        table = mt.Table(make_config("user"))
    top = dense()
    top.build([None, 2])
    optimizer = mt.keras3.with_tables(keras.optimizers.SGD(1.0))
    variables = [
        *layer.trainable_variables,
        # A table that no layer reads, by its own variable.
        *table.trainable_variables,
        *top.trainable_variables,
    ]

    def step():
        ids = tf.constant([4, 4], tf.int64)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(top(layer(ids)))
            loss += tf.reduce_sum(3.0 * table.lookup([7]))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )

    (tf.function(step) if in_function else step)()
    # Twice d loss / d row = 1, by the rate 0.5; and 3, by 0.5.
    assert layer.table.lookup([4]).numpy().tolist() == [[0, 0]]
    assert table.lookup([7]).numpy().tolist() == [[-0.5, -0.5]]
    # The kernel is stepped by the rate of Keras: 1 - (1 + 1).
    assert top.kernel.numpy().tolist() == [[-1], [-1]]


def test_a_layer_that_is_not_trainable_changes_no_row(make_config):
    model, table = compiled(functional, make_config())
    model.layers[1].trainable = False
    model.compile(mt.keras3.with_tables("sgd"), "mse")
    model.fit(IDS, LABELS, verbose=0)
    assert table.size() == 0
    model.layers[1].trainable = True
    model.compile(mt.keras3.with_tables("sgd"), "mse")
    model.fit(IDS, LABELS, verbose=0)
    assert table.size() == 5


def test_two_layers_on_one_table_have_one_weight_and_freeze_together(
    make_config,
):
    config = make_config()
    with mt.TableSet():
        layers = [mt.keras3.DynamicEmbedding(config) for _ in range(2)]
    (first,), (second,) = (layer.trainable_weights for layer in layers)
    assert first is second
    layers[0].trainable = False
    assert not layers[1].trainable_weights


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize("kind", ["layer_twice", "two_layers", "collection"])
def test_two_uses_are_one_step_of_the_sum(make_config, kind, in_function):
    config = make_config(dim=1, optimizer=mt.optimizers.Adagrad(0.5, 0.0))
    with mt.TableSet():
        first = mt.keras3.DynamicEmbedding(config)
        second = first
        if kind == "two_layers":
            second = mt.keras3.DynamicEmbedding(config)
        elif kind == "collection":
            both = mt.keras3.EmbeddingCollection(
                [mt.FeatureConfig("a", config)]
            )

            def second(ids):
                return both({"a": ids})["a"]

    optimizer = mt.keras3.with_tables("sgd")

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(first(tf.constant([1, 2, 2], tf.int64)))
            loss += 10 * tf.reduce_sum(second(tf.constant([2, 3], tf.int64)))
        variables = first.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    (tf.function(step) if in_function else step)()
    # Adagrad from an empty accumulator goes by rate * g / |g|, once per id;
    # several updates of one id would go further.
    np.testing.assert_allclose(
        first.table.lookup([1, 2, 3, 4])[:, 0], [0.5, 0.5, 0.5, 1.0], atol=1e-5
    )


def test_gradients_of_fit_take_the_short_way(make_config):
    model, _ = compiled(functional, make_config())
    model.fit(IDS, LABELS, verbose=0)
    layer, optimizer = model.layers[1], model.optimizer

    @tf.function
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids))
        variables = layer.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    optimizer.build(layer.trainable_variables)
    graph = step.get_concrete_function(tf.constant(IDS)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "MonolithCombineGradients" in kinds
    assert "MonolithPartitionGradients" not in kinds


def test_xla_is_left_out_of_models_with_tables(make_config):
    model, table = compiled(functional, make_config())
    assert not model.layers[1].supports_jit
    assert not model.jit_compile
    with pytest.warns(UserWarning, match="doesn't support `jit_compile=True`"):
        model.compile(mt.keras3.with_tables("sgd"), "mse", jit_compile=True)
    model.fit(IDS, LABELS, verbose=0)
    assert table.size() == 5


def test_the_models_summary_counts_dense_weights_only(make_config):
    model, _ = compiled(functional, make_config())
    assert model.count_params() == 3
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert "dynamic_embedding" in "\n".join(lines)


@pytest.mark.slow
def test_the_rows_of_a_model_that_is_gone_are_freed(make_config):
    model, table = compiled(functional, make_config())
    model.fit(IDS, LABELS, verbose=0)
    alive = weakref.ref(table)
    del model, table
    gc.collect()
    assert alive() is None


def test_a_use_in_a_loop_of_the_graph_is_refused_not_lost(make_config):
    with mt.TableSet():
        layer = mt.keras3.DynamicEmbedding(make_config())
    optimizer = mt.keras3.with_tables("sgd")
    variables = layer.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.while_loop(
                lambda i, _: i < 3,
                lambda i, loss: (
                    i + 1,
                    loss + tf.reduce_sum(layer(tf.reshape(i, [1]))),
                ),
                (tf.constant(0, tf.int64), tf.constant(0.0)),
            )[1]
        optimizer.apply(tape.gradient(loss, variables), variables)

    with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
        step()
    assert layer.table.size() == 0
