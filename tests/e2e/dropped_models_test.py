"""Models that go away leave no lines of errors behind."""

import os

import pytest

import processes

PROGRAM = """
import gc
import weakref

import {keras} as keras
import monolith_tf as mt

alive = []


def cell():
    inputs = keras.Input([], dtype="int64")
    layer = {layers}.DynamicEmbedding(mt.TableConfig("movie", 4))
    alive.append(weakref.ref(layer.table))
    return keras.Model(inputs, layer(inputs))


# A notebook cell that runs twice.
model = cell()
model = cell()
gc.collect()

clone = keras.models.clone_model(model)
alive.append(weakref.ref(clone.layers[-1].table))
del clone
gc.collect()

with mt.TableSet(num_shards=2):
    model = cell()
del model
keras.backend.clear_session()
gc.collect()
print("ALIVE", sum(table() is not None for table in alive), "of", len(alive))
"""


@pytest.mark.parametrize(
    ("keras", "layers"), [("tf_keras", "mt.layers"), ("keras", "mt.keras3")]
)
def test_models_that_go_away_log_no_errors(keras, layers):
    program = PROGRAM.format(keras=keras, layers=layers)
    done = processes.run(
        [*processes.PYTHON, "-c", program],
        # Shows the warnings that TensorFlow logs when an op fails.
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1"},
    )
    assert "ALIVE 0 of 4" in done.stdout
    for word in ("Monolith", "OP_REQUIRES", "FAILED_PRECONDITION"):
        assert word not in done.stderr
