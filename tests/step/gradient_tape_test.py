"""Custom loops: tables learn what a tape records."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

IDS = tf.constant([4, 4, 9], tf.int64)


def make_layer(optimizer=None, **kwargs):
    with mt.TableSet():
        return mt.layers.DynamicEmbedding(
            mt.TableConfig(
                "movie",
                dim=2,
                optimizer=optimizer or mt.optimizers.SGD(1.0),
                initializer=mt.initializers.Constant(1.0),
            ),
            **kwargs,
        )


def loss_of(vectors):
    """Its gradient is [1, 10] for every vector."""
    return tf.reduce_sum(vectors * tf.constant([1.0, 10.0]))


def rows_of(layer):
    return layer.table.lookup([4, 9, 7]).numpy().tolist()


# Id 4 stands there twice, so its gradient is [2, 20]; 9 once; 7 not at all.
AFTER_ONE_STEP = [[-1, -19], [0, -9], [1, 1]]


def train_step(layer, optimizer, call):
    with tf.GradientTape() as tape:
        loss = loss_of(call(IDS))
    variables = layer.trainable_variables
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables, strict=True)
    )


@pytest.mark.parametrize("forward_in_function", [False, True])
@pytest.mark.parametrize("step_in_function", [False, True])
def test_a_step_is_right_wherever_the_functions_begin(
    forward_in_function, step_in_function
):
    layer = make_layer()
    optimizer = mt.optimizers.with_tables("sgd")
    call = tf.function(lambda ids: layer(ids)) if forward_in_function else layer

    def step():
        train_step(layer, optimizer, call)

    (tf.function(step) if step_in_function else step)()
    assert rows_of(layer) == AFTER_ONE_STEP
    assert optimizer.iterations.numpy() == 1


@pytest.mark.slow
def test_a_function_in_a_function_and_a_direct_use_are_summed():
    layer = make_layer(mt.optimizers.Adagrad(1.0, epsilon=0.0))
    inner = tf.function(lambda ids: layer(ids))
    outer = tf.function(lambda ids: inner(ids) * 2.0)
    train_step(
        layer,
        mt.optimizers.with_tables("sgd"),
        lambda ids: outer(ids) + layer(ids),
    )
    # Id 9: gradient 3 * [1, 10]; accumulator 0.1 + gradient^2.
    gradient = np.array([3.0, 30.0])
    np.testing.assert_allclose(
        layer.table.lookup([9])[0],
        1 - gradient / np.sqrt(0.1 + gradient**2),
        atol=1e-6,
    )


@pytest.mark.parametrize("taken", [True, False])
def test_a_use_in_a_branch_counts_when_the_branch_is_taken(taken):
    layer = make_layer()
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step(condition):
        train_step(
            layer,
            optimizer,
            lambda ids: tf.cond(
                condition, lambda: layer(ids), lambda: tf.zeros([3, 2])
            ),
        )

    step(tf.constant(taken))
    assert rows_of(layer) == (AFTER_ONE_STEP if taken else [[1, 1]] * 3)


def test_a_use_in_a_loop_of_the_graph_is_refused_not_lost():
    layer = make_layer()
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step(times):
        def body(i, total):
            return i + 1, total + layer(IDS)

        train_step(
            layer,
            optimizer,
            lambda ids: tf.while_loop(
                lambda i, _: i < times, body, (0, tf.zeros([3, 2]))
            )[1],
        )

    with pytest.raises((TypeError, tf.errors.InvalidArgumentError)):
        step(tf.constant(2))
    assert layer.table.size() == 0


def test_lookup_after_the_step_in_one_function_reads_the_new_rows():
    layer = make_layer()
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function
    def step():
        before = layer(IDS)
        train_step(layer, optimizer, layer)
        return before, layer(IDS)

    before, after = step()
    assert before.numpy().tolist() == [[1, 1]] * 3
    assert after.numpy().tolist() == [[-1, -19], [-1, -19], [0, -9]]


@pytest.mark.parametrize("in_function", [False, True])
def test_a_frozen_layer_keeps_its_rows(in_function):
    layer = make_layer()
    layer.table.assign([4], np.full([1, 2], 5, np.float32))
    layer.trainable = False
    model = tf_keras.Sequential([layer, tf_keras.layers.Dense(1)])
    model.compile(
        mt.optimizers.with_tables("adam"), "mse", run_eagerly=not in_function
    )
    model(IDS)
    kernel = model.layers[1].kernel.numpy()
    model.fit(IDS, np.ones(3, np.float32), verbose=0)
    assert np.abs(model.layers[1].kernel.numpy() - kernel).max() > 0
    assert rows_of(layer) == [[5, 5], [1, 1], [1, 1]]
    assert layer.table.size() == 1
    assert layer.trainable_variables == []


def test_a_layer_that_is_thawed_learns_again():
    layer = make_layer()
    layer.trainable = False
    layer.trainable = True
    train_step(layer, mt.optimizers.with_tables("sgd"), layer)
    assert rows_of(layer) == AFTER_ONE_STEP


def test_applying_once_under_a_persistent_tape_is_one_step():
    layer = make_layer()
    optimizer = mt.optimizers.with_tables("sgd")
    variables = layer.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        loss = loss_of(layer(IDS))
        other = 3.0 * loss
    tape.gradient(other, variables)
    tape.gradient(loss, variables)
    assert rows_of(layer) == [[1, 1]] * 3
    optimizer.apply_gradients(
        zip(tape.gradient(loss, variables), variables, strict=True)
    )
    assert rows_of(layer) == AFTER_ONE_STEP


def test_a_tape_whose_sources_leave_the_layer_out_changes_no_row():
    layer = make_layer()
    weight = tf.Variable(2.0)
    optimizer = mt.optimizers.with_tables("sgd")
    with tf.GradientTape() as tape:
        loss = loss_of(layer(IDS)) * weight
    optimizer.apply_gradients([(tape.gradient(loss, weight), weight)])
    # d loss / d weight = 3 * (1 + 10), times Keras' rate 0.01.
    np.testing.assert_allclose(weight.numpy(), 2 - 0.33, rtol=1e-6)
    assert layer.table.size() == 0


def test_a_stopped_gradient_changes_no_row():
    layer = make_layer()
    with tf.GradientTape() as tape:
        loss = loss_of(tf.stop_gradient(layer(IDS)))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert gradients == [None]
    mt.optimizers.with_tables("sgd").apply_gradients(
        zip(gradients, layer.trainable_variables, strict=True)
    )
    assert layer.table.size() == 0


@pytest.mark.parametrize("late", ["dense", "table"])
def test_a_weight_without_a_gradient_at_first_learns_later(late):
    layer = make_layer()
    first, second = tf.Variable(1.0), tf.Variable(1.0)
    expected = [tf.Variable(1.0), tf.Variable(1.0)]
    variables = [*layer.trainable_variables, first, second]
    optimizer = mt.optimizers.with_tables("adam")
    keras = tf_keras.optimizers.Adam()
    for number in range(4):
        with tf.GradientTape() as tape, tf.GradientTape() as twin:
            odd = number % 2 == 1
            loss = (second if odd else first) * 2.0
            expected_loss = (expected[1] if odd else expected[0]) * 2.0
            if late == "dense" or odd:
                loss += 0.0 * loss_of(layer(IDS))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
        keras.apply_gradients(
            zip(twin.gradient(expected_loss, expected), expected, strict=True)
        )
    assert first.numpy() == expected[0].numpy()
    assert second.numpy() == expected[1].numpy()


def test_the_gradient_of_a_gradient_reaches_the_rows():
    layer = make_layer()
    scale = tf.Variable(3.0)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = loss_of(layer(IDS) ** 2) * scale
        (penalty,) = inner.gradient(loss, [scale])
    (gradient,) = outer.gradient(penalty, layer.trainable_variables)
    # penalty = sum of [1, 10] * row^2, rows are ones.
    np.testing.assert_array_equal(gradient.values, [[2, 20]] * 3)


def test_mixed_precision_casts_rows_and_keeps_float32_in_the_table():
    layer = make_layer(dtype="mixed_float16")
    vectors = layer(IDS)
    assert vectors.dtype == tf.float16
    with tf.GradientTape() as tape:
        loss = tf.cast(loss_of(tf.cast(layer(IDS), tf.float32)), tf.float32)
    (gradient,) = tape.gradient(loss, layer.trainable_variables)
    assert gradient.dtype == tf.float32
