"""All uses of a table in a forward pass are one step, of summed gradients."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

FIRST = tf.constant([1, 2, 2], tf.int64)
SECOND = tf.constant([2, 3], tf.int64)
# d loss / d vector is 1 for the first use and 10 for the second.
SUMS = {1: 1.0, 2: 12.0, 3: 10.0}

OPTIMIZERS = {
    "adagrad": (
        mt.optimizers.Adagrad(0.5, epsilon=1e-7),
        lambda: tf_keras.optimizers.Adagrad(0.5, epsilon=1e-7),
    ),
    "adam": (
        mt.optimizers.Adam(0.5),
        lambda: tf_keras.optimizers.Adam(0.5),
    ),
}


def one_layer_twice(config):
    layer = mt.layers.DynamicEmbedding(config)
    return layer, layer


def two_layers_of_one_config(config):
    return mt.layers.DynamicEmbedding(config), mt.layers.DynamicEmbedding(
        config
    )


def a_layer_and_a_collection(config):
    collection = mt.layers.EmbeddingCollection([mt.FeatureConfig("a", config)])
    layer = mt.layers.DynamicEmbedding(mt.Table.get_or_create(config))
    return layer, lambda ids: collection({"a": ids})["a"]


@pytest.mark.parametrize("in_function", [False, True])
@pytest.mark.parametrize("kind", list(OPTIMIZERS))
@pytest.mark.parametrize(
    "uses",
    [one_layer_twice, two_layers_of_one_config, a_layer_and_a_collection],
)
def test_two_uses_are_one_step_of_the_sum(uses, kind, in_function):
    row_optimizer, make_optimizer = OPTIMIZERS[kind]
    config = mt.TableConfig(
        "movie",
        dim=1,
        optimizer=row_optimizer,
        initializer=mt.initializers.Constant(1.0),
    )
    with mt.TableSet():
        first, second = uses(config)
    table = first.table
    optimizer = mt.optimizers.with_tables("sgd")

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(first(FIRST)) + 10 * tf.reduce_sum(
                second(SECOND)
            )
        variables = table.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )

    step = tf.function(step) if in_function else step
    variable = tf.Variable([1.0] * 3)
    keras = make_optimizer()
    for _ in range(2):
        step()
        keras.apply_gradients([(tf.constant(list(SUMS.values())), variable)])
    np.testing.assert_allclose(
        table.lookup(list(SUMS))[:, 0], variable, rtol=1e-6
    )
    assert table.size() == 3


@pytest.mark.parametrize("kind", list(OPTIMIZERS))
def test_two_towers_of_a_model_in_fit(kind):
    row_optimizer, make_optimizer = OPTIMIZERS[kind]
    config = mt.TableConfig(
        "movie",
        dim=1,
        optimizer=row_optimizer,
        initializer=mt.initializers.Constant(1.0),
    )
    with mt.TableSet():
        inputs = [tf_keras.Input([], dtype="int64", name=n) for n in "ab"]
        left, right = two_layers_of_one_config(config)
        outputs = left(inputs[0]) + 10 * right(inputs[1])
    model = tf_keras.Model(inputs, outputs)
    # The loss is the output itself, so its gradient is 1 for the vector.
    model.compile(
        mt.optimizers.with_tables("sgd"), lambda _, y: tf.reduce_sum(y, -1)
    )
    ids = [np.array([1, 2]), np.array([2, 3])]
    model.fit(ids, np.zeros(2), batch_size=2, verbose=0)
    variable = tf.Variable([1.0] * 3)
    # The mean over the batch halves the gradients.
    make_optimizer().apply_gradients(
        [(tf.constant([0.5, 0.5 + 5.0, 5.0]), variable)]
    )
    np.testing.assert_allclose(
        left.table.lookup([1, 2, 3])[:, 0], variable, rtol=1e-6
    )


def test_a_clone_that_would_split_a_shared_table_is_refused():
    config = mt.TableConfig("movie", dim=1)
    inputs = [tf_keras.Input([], dtype="int64", name=n) for n in "ab"]
    with mt.TableSet():
        left, right = two_layers_of_one_config(config)
    model = tf_keras.Model(inputs, left(inputs[0]) + right(inputs[1]))
    clone = tf_keras.models.clone_model(model)
    clone.compile(mt.optimizers.with_tables("sgd"), "mse")
    ids = [np.array([1, 2]), np.array([2, 3])]
    with pytest.raises(ValueError, match="Two tables are named 'movie'"):
        clone.fit(ids, np.zeros(2), verbose=0)
