"""The wrapper: what it makes, what it keeps, what it refuses."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt

PLAIN = ["sgd", "adam", "adagrad", "adamw", "ftrl", "rmsprop", "nadam"]
LEGACY = ["SGD", "Adam", "Adagrad"]


def make_model(optimizer=None, **kwargs):
    with mt.TableSet():
        model = tf_keras.Sequential(
            [
                tf_keras.Input([], dtype="int64"),
                mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=2)),
                tf_keras.layers.Dense(1),
            ]
        )
    if optimizer is not None:
        model.compile(optimizer, "mse", **kwargs)
    return model


def fit(model, steps=3):
    ids = np.arange(steps * 4) % 5
    model.fit(ids, ids / 4.0, batch_size=4, shuffle=False, verbose=0)


def refused(model):
    table = model.layers[0].table
    with pytest.raises(
        Exception, match=r"mt\.optimizers\.with_tables\(optimizer\)"
    ) as caught:
        fit(model)
    assert isinstance(caught.value, mt.MonolithError)
    assert table.size() == 0


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_optimizer_is_refused_in_fit_with_the_line_to_write(name):
    refused(make_model(tf_keras.optimizers.get(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", LEGACY)
def test_a_legacy_optimizer_is_refused_in_fit(name):
    refused(make_model(getattr(tf_keras.optimizers.legacy, name)()))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", LEGACY)
def test_a_plain_optimizer_is_refused_eagerly(name, legacy):
    home = tf_keras.optimizers.legacy if legacy else tf_keras.optimizers
    refused(make_model(getattr(home, name)(), run_eagerly=True))


def test_an_optimizer_of_tf_compat_v1_is_refused():
    layer = make_model().layers[0]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.constant([1, 2], tf.int64)))
        variables = layer.trainable_variables
        tf.compat.v1.train.AdagradOptimizer(0.1).apply_gradients(
            list(zip(tape.gradient(loss, variables), variables, strict=True))
        )

    with pytest.raises(mt.MonolithError, match="with_tables"):
        step()


def test_what_is_no_tf_keras_optimizer_is_refused():
    with pytest.raises(TypeError, match="not those of tf_keras.optimizers.leg"):
        mt.optimizers.with_tables(tf_keras.optimizers.legacy.Adam())
    with pytest.raises(TypeError, match="takes a tf_keras optimizer"):
        mt.optimizers.with_tables(0.1)
    with pytest.raises(TypeError, match="takes a tf_keras optimizer"):
        mt.optimizers.with_tables(mt.optimizers.Adam())


def test_keras_3_is_refused_wherever_it_meets_ours():
    keras = pytest.importorskip("keras")
    layer = make_model().layers[0]
    ids = np.array([1, 2])
    with pytest.raises(
        TypeError, match=r"mt\.keras3\.with_tables.*set TF_USE_LEGACY"
    ):
        mt.optimizers.with_tables(keras.optimizers.Adam())
    with pytest.raises(TypeError, match=r"Keras 3 model. Use mt\.keras3\.Dyn"):
        layer(keras.Input([], dtype="int64"))

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = layer

        def call(self, inputs):
            return self.embedding(inputs)

    model = Model()
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"Keras 3 model. Use mt\.keras3\.Dyn"):
        model.fit(ids, np.zeros([2, 2]), verbose=0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(ids)))
    variables = layer.trainable_variables
    with pytest.raises(mt.MonolithError, match="with_tables"):
        keras.optimizers.SGD().apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )
    assert layer.table.size() == 0


@pytest.mark.parametrize("name", PLAIN)
def test_every_keras_optimizer_can_be_wrapped_and_moves_weights_as_ever(name):
    """The dense weights of a model move as they do without the wrapper."""
    weights = []
    for wrap in (mt.optimizers.with_tables, lambda optimizer: optimizer):
        weight = tf.Variable([[1.0, -2.0], [3.0, 4.0]])
        optimizer = wrap(tf_keras.optimizers.get(name))
        table = make_model().layers[0].table
        for _ in range(3):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(weight**2)
                if wrap is mt.optimizers.with_tables:
                    loss += tf.reduce_sum(table.lookup([1, 2]))
            variables = [weight]
            if wrap is mt.optimizers.with_tables:
                variables.insert(0, table.trainable_variables[0])
            optimizer.apply_gradients(
                zip(tape.gradient(loss, variables), variables, strict=True)
            )
        weights.append(weight.numpy())
        assert optimizer.iterations.numpy() == 3
    np.testing.assert_array_equal(*weights)
    assert weights[0][0, 0] != 1


def test_a_wrapped_optimizer_is_left_as_it_is():
    optimizer = mt.optimizers.with_tables("adam")
    assert mt.optimizers.with_tables(optimizer) is optimizer
    assert isinstance(optimizer, tf_keras.optimizers.Adam)


def test_weights_of_an_average_are_put_in_place_after_fit():
    model = make_model(
        mt.optimizers.with_tables(
            tf_keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
        )
    )
    fit(model)
    averages = model.optimizer._model_variables_moving_average
    assert len(averages) == 2
    for weight, average in zip(model.layers[1].weights, averages, strict=True):
        np.testing.assert_array_equal(weight, average)


def test_config_and_class_survive_being_written_down():
    schedule = tf_keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    for optimizer in (
        tf_keras.optimizers.AdamW(0.25, weight_decay=0.125, clipnorm=2.0),
        tf_keras.optimizers.SGD(schedule, momentum=0.5, nesterov=True),
    ):
        wrapped = mt.optimizers.with_tables(optimizer)
        again = type(wrapped).from_config(wrapped.get_config())
        loaded = tf_keras.optimizers.deserialize(
            tf_keras.optimizers.serialize(wrapped)
        )
        for other in (again, loaded):
            assert type(other) is type(wrapped)
            assert other.get_config() == wrapped.get_config()
        expected = optimizer.get_config()
        got = wrapped.get_config()
        got.pop("name"), expected.pop("name")
        assert got == expected


def test_a_checkpoint_keeps_slots_and_iterations(tmp_path):
    def built():
        return make_model(mt.optimizers.with_tables("adam"))

    model = built()
    fit(model)
    path = tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(
        str(tmp_path / "c")
    )
    other = built()
    fit(other, 1)
    status = tf.train.Checkpoint(
        model=other, optimizer=other.optimizer
    ).restore(path)
    status.assert_existing_objects_matched()
    saved = {v.name: v.numpy().tolist() for v in model.optimizer.variables}
    found = {v.name: v.numpy().tolist() for v in other.optimizer.variables}
    assert list(found.values()) == list(saved.values())
    assert other.optimizer.iterations.numpy() == 3
    # Both go on in the same way, slots of rows and of weights included.
    fit(model)
    fit(other)
    ids = np.arange(5)
    np.testing.assert_array_equal(
        other.layers[0].table.lookup(ids), model.layers[0].table.lookup(ids)
    )
    np.testing.assert_array_equal(
        other.layers[1].kernel, model.layers[1].kernel
    )
