"""A model whose rows can be told by hand."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt


@pytest.fixture
def make_row_model():
    """Makes a model that is one row; each step of id 7 takes off the rate."""

    def make(rate=1.0, optimizer="sgd"):
        with mt.TableSet(num_shards=2):
            layer = mt.layers.DynamicEmbedding(
                mt.TableConfig(
                    "movie",
                    dim=1,
                    optimizer=mt.optimizers.SGD(rate),
                    initializer=mt.initializers.Zeros(),
                )
            )
            model = tf_keras.Sequential([tf_keras.Input([], dtype="int64")])
            model.add(layer)
        model.compile(
            mt.optimizers.with_tables(optimizer),
            lambda _, y: tf.reduce_sum(y, -1),
        )
        return model, layer.table

    return make


@pytest.fixture
def fit():
    """Fits such a model, two steps an epoch."""

    def fit(model, epochs, *callbacks, **options):
        return model.fit(
            np.full(2, 7),
            np.zeros(2),
            batch_size=1,
            epochs=epochs,
            callbacks=list(callbacks),
            verbose=0,
            **options,
        )

    return fit
