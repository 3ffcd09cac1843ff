"""Tables whose weights are stored in fewer bits than float32."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.stock_ops.initial_rows import initial_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PRECISIONS = [
    mt.precisions.Float32(),
    mt.precisions.BFloat16(),
    mt.precisions.Float16(),
    mt.precisions.Int8(range=0.75),
    mt.precisions.OneBit(amplitude=0.5, anneal_steps=10),
    mt.precisions.OneBit(amplitude=0.5, anneal_steps=10, bytes_per_weight=1),
]
IDS = np.array([0, -1, 5, 77, 1 << 40, -(1 << 63), (1 << 63) - 1])


@pytest.fixture(params=PRECISIONS, ids=lambda p: p.kind)
def precision(request):
    return request.param


def make(precision, num_shards=1, **arguments):
    arguments.setdefault("dim", 7)
    arguments.setdefault("optimizer", mt.optimizers.Adagrad(0.1))
    arguments.setdefault("initializer", mt.initializers.RandomNormal(0.0, 0.3))
    with mt.TableSet(num_shards=num_shards):
        return mt.Table(
            mt.TableConfig("table", precision=precision, seed=3, **arguments)
        )


def train(table, num_steps, ids=IDS):
    random = np.random.default_rng(4)
    for _ in range(num_steps):
        gradients = random.normal(size=[len(ids), table.dim])
        table.apply_gradients(ids, gradients.astype(np.float32), event_time=9)


def insert(table, ids):
    """Makes rows by a step that moves nothing."""
    table.apply_gradients(
        ids, np.zeros([len(ids), table.dim], np.float32), learning_rate=0.0
    )


@pytest.mark.parametrize(
    "initializer",
    [
        mt.initializers.Zeros(),
        mt.initializers.Constant(-0.3),
        mt.initializers.RandomUniform(-1.0, 1.0),
        mt.initializers.RandomNormal(0.0, 0.5),
        mt.initializers.TruncatedNormal(0.0, 0.01),
        mt.initializers.VarianceScaling(),
    ],
    ids=lambda i: i.kind,
)
@pytest.mark.parametrize("dim", [1, 8, 33])
def test_an_unseen_row_is_the_inserted_one_and_that_of_stock_ops(
    precision, initializer, dim
):
    table = make(precision, dim=dim, initializer=initializer)
    unseen = table.lookup(IDS).numpy()
    ids = tf.constant(IDS)
    stock = initial_rows(table.config, ids, step=0).numpy()
    assert unseen.tobytes() == stock.tobytes()
    insert(table, IDS)
    assert table.size() == len(IDS)
    # The step is 1 now, which annealed values depend on.
    stock = initial_rows(table.config, ids, step=1).numpy()
    assert table.lookup(IDS).numpy().tobytes() == stock.tobytes()


def test_training_is_the_same_on_any_number_of_shards(precision):
    results = []
    for num_shards in (1, 2, 3):
        table = make(precision, num_shards)
        train(table, 20)
        results.append(table.lookup(np.r_[IDS, 123, 124]).numpy().tobytes())
    assert results[0] == results[1] == results[2]


def test_a_batch_without_ids_of_a_server_is_a_step_there_too():
    precision = mt.precisions.OneBit(amplitude=0.5, anneal_steps=10)
    results = []
    for num_shards in (1, 3):
        table = make(precision, num_shards)
        for _ in range(5):
            insert(table, [5])
        results.append(table.lookup(IDS).numpy().tobytes())
    assert results[0] == results[1]


@pytest.mark.parametrize("num_steps", [4, 20])
def test_a_checkpoint_restores_exactly(precision, num_steps, tmp_path):
    table = make(precision, 2)
    train(table, num_steps)
    path = tf.train.Checkpoint(table=table).save(str(tmp_path / "c"))
    other = make(precision, 3)
    tf.train.Checkpoint(table=other).restore(path)
    ids = np.r_[IDS, 123, 124]
    assert (
        other.lookup(ids).numpy().tobytes()
        == table.lookup(ids).numpy().tobytes()
    )
    train(table, 3)
    train(other, 3)
    assert (
        other.lookup(ids).numpy().tobytes()
        == table.lookup(ids).numpy().tobytes()
    )


def test_restoring_an_older_checkpoint_goes_back_in_steps(tmp_path):
    precision = mt.precisions.OneBit(amplitude=0.5, anneal_steps=10)
    table = make(precision, 2)
    train(table, 4)
    expected = table.lookup([5, 123]).numpy().tobytes()
    path = tf.train.Checkpoint(table=table).save(str(tmp_path / "c"))
    train(table, 20)
    assert table.lookup([5, 123]).numpy().tobytes() != expected
    tf.train.Checkpoint(table=table).restore(path)
    assert table.lookup([5, 123]).numpy().tobytes() == expected


def make_model(precision):
    inputs = tf_keras.Input([], dtype="int64", name="ids")
    config = mt.TableConfig(
        "table",
        dim=7,
        optimizer=mt.optimizers.Adagrad(0.1),
        initializer=mt.initializers.RandomNormal(0.0, 0.3),
        precision=precision,
        seed=3,
    )
    with mt.TableSet(num_shards=2):
        rows = mt.layers.DynamicEmbedding(config)(inputs)
    model = tf_keras.Model(inputs, {"rows": rows})
    model.compile(mt.optimizers.with_tables("sgd"), "mse")
    return model


def fit(model, num_steps):
    labels = {"rows": np.random.default_rng(1).normal(size=[7, 7])}
    model.fit(IDS, labels, batch_size=7, epochs=num_steps, verbose=0)


@pytest.mark.slow
def test_an_export_answers_as_the_trainer(precision, tmp_path):
    model = make_model(precision)
    fit(model, 15)
    mt.serving.export_saved_model(model, str(tmp_path / "export"))
    (version,) = (tmp_path / "export").iterdir()
    loaded = tf.saved_model.load(str(version))
    ids = tf.constant(np.r_[IDS, 123, 124])
    served = loaded.signatures["serving_default"](ids=ids)["rows"].numpy()
    assert served.tobytes() == model(ids)["rows"].numpy().tobytes()


@pytest.mark.slow
def test_an_export_amid_annealing_has_the_rows_of_its_step(tmp_path):
    precision = mt.precisions.OneBit(amplitude=0.5, anneal_steps=10)
    model = make_model(precision)
    fit(model, 4)
    mt.serving.export_saved_model(model, str(tmp_path / "export"))
    (version,) = (tmp_path / "export").iterdir()
    loaded = tf.saved_model.load(str(version))
    answer = loaded.signatures["serving_default"]
    served = answer(ids=tf.constant(IDS))["rows"].numpy()
    assert served.tobytes() == model(IDS)["rows"].numpy().tobytes()
    # An id without a row reads what it will read in the end.
    unseen = answer(ids=tf.constant([123], tf.int64))["rows"].numpy()
    assert set(np.abs(unseen.ravel())) == {0.5}


def test_a_keras_file_keeps_rows_and_steps(precision, tmp_path):
    model = make_model(precision)
    fit(model, 4)
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    ids = tf.constant(np.r_[IDS, 123])
    assert (
        loaded(ids)["rows"].numpy().tobytes()
        == model(ids)["rows"].numpy().tobytes()
    )


def test_rows_that_are_exported_are_those_that_are_looked_up(precision):
    table = make(precision, 2)
    train(table, 5)
    found = {
        int(i): r for ids, rows in table.export() for i, r in zip(ids, rows)
    }
    rows = table.lookup(IDS).numpy()
    for id, row in zip(IDS, rows, strict=True):
        assert found[int(id)].tobytes() == row.tobytes()


def test_deltas_have_the_values_that_are_looked_up(precision):
    table = make(precision)
    cuts = table.table_set.start_deltas()
    train(table, 5)
    delta = table.table_set.take_delta(0, cuts[0]).tables["table"]
    rows = delta.rows.reshape([-1, 7])
    assert rows.tobytes() == table.lookup(delta.ids).numpy().tobytes()


@pytest.mark.parametrize(
    "precision",
    [mt.precisions.BFloat16(), mt.precisions.Float16(), mt.precisions.Int8(2)],
    ids=lambda p: p.kind,
)
def test_updates_below_the_distance_of_two_numbers_add_up(precision):
    table = make(
        precision,
        dim=512,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Constant(1.0),
    )
    for _ in range(200):
        table.apply_gradients([5], np.full([1, 512], 1e-4, np.float32))
    mean = table.lookup([5]).numpy().mean()
    # Nearest rounding would stay at 1.
    assert 0.975 < mean < 0.985


def test_the_gradient_of_onebit_is_that_of_the_value_that_was_read():
    table = make(
        mt.precisions.OneBit(0.5, anneal_steps=2),
        dim=1,
        # Its momentum is minus the gradient that it was stepped by.
        optimizer=mt.optimizers.SGD(1.0, momentum=0.5),
        initializer=mt.initializers.Constant(0.25),
    )
    # w / amplitude is 1 / 2. At step 0 it reads 0.5 tanh(0.5 beta), beta = 1,
    # with the derivative beta (1 - tanh^2) = 1 - 0.4621172^2; at step 1, beta
    # is 2: 2 (1 - 0.7615942^2). From step 2 on it reads 0.5, and the gradient
    # passes through.
    for step, value, slope in [
        (0, 0.5 * 0.4621172, 0.7864477),
        (1, 0.5 * 0.7615942, 0.8399487),
        (2, 0.5, 1.0),
        (3, 0.5, 1.0),
    ]:
        np.testing.assert_allclose(table.lookup([step]), [[value]], rtol=1e-6)
        table.apply_gradients([step], [[-1.0]])
        whole = {
            int(i): row
            for ids, _, rows in export_rows(table)
            for i, row in zip(ids, rows, strict=True)
        }
        np.testing.assert_allclose(whole[step][1], slope, rtol=1e-6)


def test_a_gradient_that_the_slope_of_onebit_makes_too_large_is_a_bad_one():
    table = make(
        mt.precisions.OneBit(0.5, anneal_steps=10**6),
        dim=2,
        optimizer=mt.optimizers.Adam(0.1),
        initializer=mt.initializers.Zeros(),
    )
    # At step 999,998 beta is 500,000: 2^47 becomes 2^66, whose square is inf.
    for _ in range(3):
        table.apply_gradients(
            [7, 8], [[2.0**47, 0.0], [1.0, 0.0]], step=10**6 - 2
        )
    stats = table.stats()
    assert (stats.num_bad_gradients, stats.num_rows) == (3, 1)
    ((ids, _, rows),) = export_rows(table)
    assert ids.tolist() == [8]
    assert np.isfinite(rows).all()
    # 2^20 becomes 2^39, which is taken.
    table.apply_gradients([7], [[2.0**20, 0.0]], step=10**6 - 2)
    assert table.stats().num_bad_gradients == 3
    assert all(np.isfinite(rows).all() for _, _, rows in export_rows(table))


# The gradient of onebit is that of its annealed value: see above.
@pytest.mark.parametrize(
    "precision",
    [p for p in PRECISIONS if p.kind != "onebit"],
    ids=lambda p: p.kind,
)
def test_the_step_is_float32_mathematics_and_one_rounding(precision):
    table = make(precision, optimizer=mt.optimizers.SGD(0.1))
    rows = table.lookup(IDS).numpy()
    gradients = np.random.default_rng(2).normal(size=rows.shape)
    table.apply_gradients(IDS, gradients.astype(np.float32))
    exact = rows - np.float32(0.1) * gradients.astype(np.float32)
    if precision.kind == "int8":
        exact = np.clip(exact, -0.75, 0.75)
    steps = {
        "float32": 1e-7,
        "bfloat16": np.abs(exact) / 128,
        "float16": np.abs(exact) / 1024 + 2.0**-24,
        "int8": 0.75 / 127,
    }
    found = table.lookup(IDS).numpy()
    assert np.all(np.abs(found - exact) <= 1.01 * steps[precision.kind])


def test_int8_weights_stay_in_their_range_and_come_back_in():
    table = make(mt.precisions.Int8(1.0), optimizer=mt.optimizers.SGD(1.0))
    for _ in range(3):
        table.apply_gradients([5], np.full([1, 7], -9.0, np.float32))
    np.testing.assert_array_equal(table.lookup([5]), np.ones([1, 7]))
    table.apply_gradients([5], np.full([1, 7], 1.0, np.float32))
    np.testing.assert_allclose(table.lookup([5]), np.zeros([1, 7]), atol=0.01)


def test_onebit_values_become_two():
    table = make(mt.precisions.OneBit(amplitude=0.5, anneal_steps=10))
    sizes = []
    for _ in range(12):
        insert(table, IDS)
        sizes.append(np.abs(table.lookup(IDS)).min())
    assert sizes == sorted(sizes)
    np.testing.assert_array_equal(np.abs(table.lookup([5, 123])), 0.5)


def test_onebit_in_one_byte_learns_all_the_way_and_stays_in_its_range():
    table = make(
        mt.precisions.OneBit(0.5, anneal_steps=100, bytes_per_weight=1),
        dim=512,
        optimizer=mt.optimizers.SGD(1.0),
        initializer=mt.initializers.Constant(0.1),
    )
    # Each step is a fourth of a level and less: rounding adds them up.
    for _ in range(150):
        table.apply_gradients([5], np.full([1, 512], 1e-3, np.float32))
    assert (table.lookup([5]).numpy() == -0.5).mean() > 0.95
    # Values that are one bit turn again, and quickly: the weight went no
    # further than its range.
    for _ in range(3):
        table.apply_gradients([5], np.full([1, 512], 9.0, np.float32))
    table.apply_gradients([5], np.full([1, 512], -0.55, np.float32))
    np.testing.assert_array_equal(table.lookup([5]), np.full([1, 512], 0.5))


def test_rows_of_fewer_bits_take_fewer_bytes():
    sizes = {}
    for precision in PRECISIONS:
        table = make(precision, dim=64, optimizer=mt.optimizers.SGD(0.1))
        insert(table, IDS)
        name = f"{precision.kind} {precision.bytes_per_weight}"
        sizes[name] = table.stats().row_bytes // len(IDS)
    assert sizes == {
        "float32 4": 16 + 256,
        "bfloat16 2": 16 + 128,
        "float16 2": 16 + 128,
        "int8 1": 16 + 64,
        "onebit 2": 16 + 128,
        "onebit 1": 16 + 64,
    }
    table = make(
        mt.precisions.Int8(1.0),
        dim=64,
        optimizer=mt.optimizers.SGD(0.1),
        tracks_changes=False,
    )
    insert(table, IDS)
    assert table.stats().row_bytes // len(IDS) == 8 + 64
