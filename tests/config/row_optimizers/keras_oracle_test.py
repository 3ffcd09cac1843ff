"""Rows move as tf_keras moves a dense variable made of just those rows."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows

NUM_IDS = 24
DIM = 3
STEPS = 200

PAIRS = {
    "sgd": (
        mt.optimizers.SGD(0.1),
        lambda: tf_keras.optimizers.SGD(0.1),
        [],
    ),
    "adagrad": (
        mt.optimizers.Adagrad(0.1, initial_accumulator_value=0.2),
        lambda: tf_keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.2),
        ["_accumulators"],
    ),
    "adam": (
        mt.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99),
        lambda: tf_keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.99),
        ["_momentums", "_velocities"],
    ),
}


class GatheredRows:
    """All rows in NumPy; a step gathers some, runs Keras on them, scatters."""

    def __init__(self, rows, make_optimizer, slots):
        self.rows = rows.copy()
        self._make_optimizer = make_optimizer
        self._slots = slots
        probe = make_optimizer()
        probe.build([tf.Variable(rows)])
        self.slots = [getattr(probe, slot)[0].numpy() for slot in slots]

    def step(self, number, gradients):
        """Applies a dense gradient per id of a dict, as step `number`."""
        ids = sorted(gradients)
        variable = tf.Variable(self.rows[ids])
        optimizer = self._make_optimizer()
        optimizer.build([variable])
        optimizer.iterations.assign(number)
        for slot, values in zip(self._slots, self.slots, strict=True):
            getattr(optimizer, slot)[0].assign(values[ids])
        gradient = np.stack([gradients[one] for one in ids])
        optimizer.apply_gradients(
            [(tf.constant(gradient, tf.float32), variable)]
        )
        self.rows[ids] = variable.numpy()
        for slot, values in zip(self._slots, self.slots, strict=True):
            values[ids] = getattr(optimizer, slot)[0].numpy()


def batch(random):
    """Ragged and dense ids with duplicates, and what the loss weighs by."""
    lengths = random.integers(0, 5, 6)
    ragged = random.integers(0, NUM_IDS, (2, lengths.sum())).min(axis=0)
    dense = random.integers(0, NUM_IDS // 2, (6, 2))
    weights = random.normal(size=(3, 6, DIM)).astype(np.float32)
    return ragged, lengths, dense, weights


def expected_gradients(ragged, lengths, dense, weights):
    """d loss / d row of each id, by hand: the loss is linear in vectors."""
    gradients = {}

    def add(one, value):
        gradients[int(one)] = gradients.get(int(one), 0) + value

    start = 0
    for example, length in enumerate(lengths):
        for one in ragged[start : start + length]:
            add(one, weights[0, example] / length)
        start += length
        for position in range(2):
            add(dense[example, position], weights[1 + position, example])
    return gradients


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PAIRS))
def test_200_steps_with_duplicates_and_ragged_features(kind):
    row_optimizer, make_optimizer, slots = PAIRS[kind]
    config = mt.TableConfig("movie", dim=DIM, optimizer=row_optimizer, seed=5)
    with mt.TableSet(num_shards=2):
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("ragged", config, combiner="mean"),
                mt.FeatureConfig("dense", config),
            ]
        )
    (table,) = layer.tables
    ids = np.arange(NUM_IDS)
    oracle = GatheredRows(table.lookup(ids).numpy(), make_optimizer, slots)
    optimizer = mt.optimizers.with_tables("sgd")

    @tf.function(reduce_retracing=True)
    def train_step(ragged, lengths, dense, weights):
        with tf.GradientTape() as tape:
            vectors = layer(
                {
                    "ragged": tf.RaggedTensor.from_row_lengths(ragged, lengths),
                    "dense": dense,
                }
            )
            loss = tf.reduce_sum(vectors["ragged"] * weights[0])
            for position in range(2):
                loss += tf.reduce_sum(
                    vectors["dense"][:, position] * weights[1 + position]
                )
        variables = layer.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, variables), variables, strict=True)
        )

    random = np.random.default_rng(7)
    for number in range(STEPS):
        parts = batch(random)
        oracle.step(number, expected_gradients(*parts))
        train_step(*(tf.constant(part) for part in parts))

    np.testing.assert_allclose(table.lookup(ids), oracle.rows, atol=1e-5)
    order, slot_rows = [], []
    for part_ids, _, rows in export_rows(table):
        order.append(part_ids)
        slot_rows.append(rows[:, DIM:])
    order = np.concatenate(order)
    assert sorted(order) == list(range(NUM_IDS))
    expected = [values[order] for values in oracle.slots]
    np.testing.assert_allclose(
        np.concatenate(slot_rows),
        np.concatenate(expected, axis=1) if expected else np.zeros((24, 0)),
        atol=1e-5,
        rtol=1e-5,
    )


def copy_of_rows(table):
    """An Embedding's initial value: the table's initial rows."""
    rows = table.lookup(np.arange(8)).numpy()
    return tf_keras.initializers.Constant(rows)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PAIRS))
def test_ids_of_every_step_move_as_in_an_embedding_of_the_same_model(kind):
    row_optimizer, make_optimizer, _ = PAIRS[kind]
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=2, optimizer=row_optimizer)
        )
    embedding = tf_keras.layers.Embedding(
        8, 2, embeddings_initializer=copy_of_rows(layer.table)
    )
    inputs = tf_keras.Input([10], dtype="int64")
    outputs = []
    for part in (layer, embedding):
        hidden = tf_keras.layers.Dense(
            4,
            "tanh",
            kernel_initializer=tf_keras.initializers.RandomNormal(seed=1),
        )(tf_keras.layers.Flatten()(part(inputs)))
        outputs.append(
            tf_keras.layers.Dense(
                1,
                kernel_initializer=tf_keras.initializers.RandomNormal(seed=2),
            )(hidden)
        )
    model = tf_keras.Model(inputs, outputs)
    model.compile(mt.optimizers.with_tables(make_optimizer()), "mse")
    random = np.random.default_rng(3)
    # Every id in every example, two of them twice.
    ids = np.stack(
        [
            random.permutation(np.r_[np.arange(8), random.integers(0, 8, 2)])
            for _ in range(STEPS)
        ]
    )
    labels = random.normal(size=STEPS).astype(np.float32)
    model.fit(ids, [labels, labels], batch_size=1, shuffle=False, verbose=0)
    assert model.optimizer.iterations.numpy() == STEPS
    np.testing.assert_allclose(
        layer.table.lookup(np.arange(8)), embedding.embeddings, atol=1e-5
    )
