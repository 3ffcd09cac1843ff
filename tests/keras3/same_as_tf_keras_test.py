"""A model of Keras 3 learns what the same model of tf_keras learns."""

import keras
import numpy as np
import pytest
import tf_keras

import monolith_tf as mt

RANDOM = np.random.default_rng(0)
USERS = RANDOM.integers(-(2**62), 2**62, 40)[RANDOM.integers(0, 40, 256)]
MOVIES = RANDOM.integers(0, 30, [256, 4])
LABELS = RANDOM.integers(0, 2, 256).astype(np.float32)
INPUTS = {"user": USERS, "movies": MOVIES, "last": MOVIES[:, 0]}

ROW_OPTIMIZERS = {
    "sgd": lambda: mt.optimizers.SGD(0.5),
    "adagrad": lambda: mt.optimizers.Adagrad(0.1),
    "adam": lambda: mt.optimizers.Adam(0.05),
}


def make_model(kind, package, layers, with_tables):
    """Two tables, one of them read by two features and a layer."""
    user = mt.TableConfig("user", dim=3, optimizer=ROW_OPTIMIZERS[kind]())
    movie = mt.TableConfig("movie", dim=4, optimizer=ROW_OPTIMIZERS[kind]())
    shapes = {"user": [], "movies": [4], "last": []}
    inputs = {
        name: package.Input(shape, dtype="int64", name=name)
        for name, shape in shapes.items()
    }
    ones = package.initializers.Constant(0.3)
    with mt.TableSet():
        vectors = layers.EmbeddingCollection(
            [
                mt.FeatureConfig("user", user),
                mt.FeatureConfig("movies", movie, "mean", padding_id=0),
                mt.FeatureConfig("last", movie),
            ]
        )(inputs)
        again = layers.DynamicEmbedding(movie)(inputs["last"])
        hidden = package.layers.Concatenate()(
            [vectors["user"], vectors["movies"], vectors["last"], again]
        )
        score = package.layers.Dense(
            1, activation="sigmoid", kernel_initializer=ones
        )(hidden)
        model = package.Model(inputs, score)
    model.compile(with_tables(kind), "binary_crossentropy")
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(ROW_OPTIMIZERS))
def test_losses_and_rows_are_those_of_tf_keras(kind, contents):
    losses, rows = [], []
    for package, layers, with_tables in (
        (tf_keras, mt.layers, mt.optimizers.with_tables),
        (keras, mt.keras3, mt.keras3.with_tables),
    ):
        model = make_model(kind, package, layers, with_tables)
        history = model.fit(
            INPUTS, LABELS, batch_size=32, epochs=4, shuffle=False, verbose=0
        )
        losses.append(history.history["loss"])
        rows.append(contents(model, times=False))
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    assert losses[0][-1] < losses[0][0]
    for name, expected in rows[0].items():
        assert rows[1][name].keys() == expected.keys()
        for one, (_, row) in expected.items():
            np.testing.assert_allclose(
                np.frombuffer(rows[1][name][one][1], np.float32),
                np.frombuffer(row, np.float32),
                rtol=1e-3,
                atol=1e-5,
            )
