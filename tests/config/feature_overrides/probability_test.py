"""Features that share a table and admit ids with their own probability."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from feature_steps import WAYS
from feature_steps import rows_of
from feature_steps import trainer
from monolith_tf.config import feature_overrides
from monolith_tf.stock_ops import hashing

# What is counted, and how a table admits without its features.
TABLES = {
    "all": {},
    "exact": {"min_count": 4},
    "sketch": {"min_count": 4, "sketch_bytes": 1 << 16},
    "probability": {"probability": 0.3},
}
MASK = (1 << 64) - 1


def make_config(name="item", **admission):
    return mt.TableConfig(
        name,
        dim=1,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Zeros(),
        admission=mt.Admission(**admission),
    )


def mix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def sampled(config, id, step):
    """The number of an id in a step that is below what admits it."""
    key = hashing.table_key(config.seed, config.name) ^ MASK
    id_key = mix64((id + key) & MASK)
    return (mix64((id_key + step) & MASK) >> 11) * 2.0**-53


def rounded(probability):
    """To 12 binary digits."""
    mantissa, exponent = np.frexp(np.float64(probability))
    return float(np.ldexp(np.round(mantissa * 4096), exponent - 12))


class Oracle:
    """A dict of counts and a dict of rows."""

    def __init__(self, config):
        self.config = config
        self.counts = {}
        self.rows = {}
        self.steps = 0

    def step(self, features):
        """Takes the ids of each feature, its min_count and its probability."""
        self.steps += 1
        table = self.config.admission
        own = any(m or p for _, m, p in features)
        occurred, thresholds, odds = {}, {}, {}
        for ids, min_count, probability in features:
            if not min_count and not probability:
                probability = table.probability
                min_count = None if probability else table.min_count
            if probability:
                # That of the table has all its digits where it is alone.
                probability = (
                    rounded(probability) if own else np.float32(probability)
                )
            for id in ids:
                occurred[id] = occurred.get(id, 0) + 1
                if min_count:
                    thresholds[id] = min(
                        min_count, thresholds.get(id, min_count)
                    )
                else:
                    odds[id] = max(probability, odds.get(id, 0))
        for id, count in occurred.items():
            if id not in self.rows:
                self.counts[id] = self.counts.get(id, 0) + count
                if id in thresholds:
                    admitted = self.counts[id] >= thresholds[id]
                else:
                    chance = 1 - (1 - float(odds[id])) ** count
                    admitted = sampled(self.config, id, self.steps) < chance
                if not admitted:
                    continue
                self.rows[id] = 0
                if table.kind == "count":
                    del self.counts[id]
            self.rows[id] -= count


@pytest.mark.parametrize(("seed", "way"), list(enumerate(WAYS)))
def test_random_features_agree_with_a_dict(seed, way):
    random = np.random.default_rng(seed)
    configs = [make_config(name, **of) for name, of in TABLES.items()]

    def terms(config):
        kind = random.integers(3)
        if kind == 0:
            return {}
        if kind == 1:
            return {"probability": float(random.choice([0.05, 0.3, 1e-3, 1]))}
        counts = config.admission.kind in ("count", "sketch")
        return {"min_count": int(random.integers(1, 7)) if counts else 1}

    features = [
        mt.FeatureConfig(
            f"{number}",
            configs[number % 4],
            ["sum", None][number % 2],
            padding_id=0 if random.random() < 0.5 else None,
            **terms(configs[number % 4]),
        )
        for number in range(12)
    ]
    with mt.TableSet(num_shards=1 + seed % 2):
        layer = mt.layers.EmbeddingCollection(features)
    oracles = {c.name: Oracle(c) for c in configs}
    step = trainer(
        way,
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    for _ in range(12):
        batch = {f.name: random.integers(0, 60, [2, 3]) for f in features}
        step({name: tf.constant(ids) for name, ids in batch.items()})
        for table in layer.tables:
            oracle = oracles[table.name]
            oracle.step(
                [
                    (
                        [
                            int(id)
                            for id in batch[f.name].ravel()
                            if id != f.padding_id
                        ],
                        f.min_count,
                        f.probability,
                    )
                    for f in features
                    if f.config is table.config
                ]
            )
            assert rows_of(table) == oracle.rows
            if table.config.admission.kind == "count":
                assert table.stats().num_counted == len(oracle.counts)


@pytest.mark.parametrize("table", TABLES)
def test_about_the_share_of_ids_comes_in_whatever_the_table_says(table):
    config = make_config(**TABLES[table])
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config, probability=0.125)
    step = trainer("fused", lambda ids: [layer(ids)], layer.trainable_variables)
    step(tf.range(20_000, dtype=tf.int64))
    # Five deviations.
    assert abs(layer.table.size() - 2500) < 5 * (2500 * 0.875) ** 0.5
    assert layer.table.stats().num_rejected == 20_000 - layer.table.size()


def test_what_counts_goes_before_lots():
    config = make_config(min_count=9)
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("sampled", config, probability=1.0),
                mt.FeatureConfig("two", config, min_count=2),
                mt.FeatureConfig("rest", config),
            ]
        )
    assert len(layer.trainable_variables) == 3
    step = trainer(
        "fused",
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )

    def batch(sampled, two, rest):
        step(
            {
                "sampled": tf.constant(sampled, tf.int64),
                "two": tf.constant(two, tf.int64),
                "rest": tf.constant(rest, tf.int64),
            }
        )
        return set(rows_of(layer.tables[0]))

    # 2 occurs twice; 3 as well, but once in a feature that wants nine.
    assert batch([1, 2], [2, 4], [3, 3]) == {1, 2}
    assert batch([3], [4, 5], [3, 5]) == {1, 2, 4, 5}
    # Now by probability alone.
    assert batch([3], [], []) == {1, 2, 3, 4, 5}


def test_a_lot_and_a_ttl_go_together():
    config = mt.TableConfig(
        "item",
        dim=1,
        admission=mt.Admission(min_count=5),
        eviction=mt.Eviction(ttl_seconds=100),
    )
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, probability=1.0, ttl_seconds=10),
                mt.FeatureConfig("b", config, min_count=1),
            ]
        )
    step = trainer(
        "fused",
        lambda inputs: list(layer(inputs).values()),
        layer.trainable_variables,
    )
    with mt.event_time(tf.constant(1000, tf.int64)):
        step({"a": tf.constant([1, 2]), "b": tf.constant([2, 3])})
    (table,) = layer.tables
    for seconds, expected in ((10, {1, 2, 3}), (11, {2, 3}), (101, set())):
        table.sweep(event_time=1000 + seconds)
        assert set(rows_of(table)) == expected


def test_a_layer_is_saved_with_its_probability(tmp_path):
    config = make_config(min_count=3)
    inputs = {n: tf_keras.Input([], dtype="int64", name=n) for n in "ab"}
    with mt.TableSet():
        collection = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", config, probability=0.1),
                mt.FeatureConfig("b", config),
            ]
        )
        layer = mt.layers.DynamicEmbedding(config, probability=0.25)
        vectors = collection(inputs)
        output = vectors["a"] + vectors["b"] + layer(inputs["a"])
    model = tf_keras.Model(inputs, output)
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    model.save(tmp_path / "model.keras")
    with mt.TableSet():
        loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    features = loaded.get_layer(collection.name).features
    assert [feature.probability for feature in features] == [0.1, None]
    assert loaded.get_layer(layer.name).get_config()["probability"] == 0.25
    old = collection.get_config()
    for feature in old["features"]:
        del feature["probability"]
    with mt.TableSet():
        again = mt.layers.EmbeddingCollection.from_config(old)
    assert [feature.probability for feature in again.features] == [None, None]


def test_a_call_of_apply_gradients_may_have_its_own():
    with mt.TableSet():
        table = mt.Table(make_config(min_count=4))
    table.apply_gradients([7], [[1.0]], probability=2**-31)
    assert table.size() == 0
    assert table.stats().num_counted == 1
    table.apply_gradients([7], [[1.0]], probability=1)
    assert rows_of(table) == {7: -1}


def test_the_probability_of_the_table_is_no_other():
    config = make_config(probability=0.3)
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(config, probability=0.3)
        at_once = mt.layers.DynamicEmbedding(config, min_count=1)
    assert len(layer.trainable_variables) == 1
    step = trainer("eager", lambda ids: [at_once(ids)], at_once.variables)
    step(tf.range(50, dtype=tf.int64))
    assert at_once.table.size() == 50


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"probability": 0}, ValueError, r"2\^-31 <= probability <= 1.*=0"),
        ({"probability": 1.5}, ValueError, r"probability <= 1.*=1\.5"),
        ({"probability": 1e-10}, ValueError, r"2\^-31 <= probability"),
        ({"probability": float("nan")}, ValueError, "finite probability"),
        ({"probability": "0.5"}, TypeError, "number for probability.*'0.5'"),
        ({"probability": True}, TypeError, "number for probability.*True"),
        (
            {"probability": 0.5, "min_count": 2},
            ValueError,
            "min_count or a probability, not both.*=2, probability=0.5",
        ),
    ],
)
def test_a_bad_probability_says_what_is_wrong(given, error, message):
    config = make_config(min_count=3)
    with pytest.raises(error, match=message):
        mt.FeatureConfig("a", config, **given)
    with pytest.raises(error, match=message):
        mt.layers.DynamicEmbedding(config, **given)
    with mt.TableSet():
        table = mt.Table(config)
    with pytest.raises(error, match=message):
        table.apply_gradients([7], [[1.0]], **given)
    assert table.size() == 0


@pytest.mark.parametrize(
    "probability",
    [1, 0.5, 0.75, 2**-31, 1e-9, 0.1, 1 / 3, 0.99999, 0.9996, 2**-20 * 0.99999],
)
def test_a_probability_is_kept_to_12_digits(probability):
    packed = feature_overrides.FeatureOverrides(
        probability=probability, ttl_seconds=5
    ).encode()
    overrides = feature_overrides.FeatureOverrides.decode(packed)
    assert overrides == (0, rounded(probability), 5)
    assert abs(overrides.probability / probability - 1) <= 2**-12
    assert overrides.encode() == packed
    feature = mt.FeatureConfig(
        "user", mt.TableConfig("user", dim=1), probability=probability
    )
    assert feature.overrides == overrides._replace(ttl_seconds=0)
