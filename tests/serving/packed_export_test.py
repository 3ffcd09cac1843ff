"""Exports keep rows in the precision of their table, and lose no bit of it."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import ops
from monolith_tf.errors import ExportError
from monolith_tf.placement.registry import tables_of
from monolith_tf.placement.table_set import servers_of
from monolith_tf.serving import export_saved_model
from monolith_tf.serving.dump import dump
from monolith_tf.serving.graph.reserved_ids import RESERVED_IDS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ANNEAL_STEPS = 4
PRECISIONS = {
    "float32": mt.precisions.Float32(),
    "bfloat16": mt.precisions.BFloat16(),
    "float16": mt.precisions.Float16(),
    "int8": mt.precisions.Int8(range=0.75),
    "onebit": mt.precisions.OneBit(0.3, ANNEAL_STEPS),
}
STORED = {
    "float32": "float32[35]",
    "bfloat16": "bfloat16[35]",
    "float16": "float16[35]",
    "int8": "int8(0.75)[35]",
    "onebit": "onebit(0.3)[35]",
    "mixed": "int8(0.75)[5] float32[1] onebit(0.3)[35] bfloat16[3] float16[1]",
}
WIDTHS = {
    "float32": 35,
    "bfloat16": 18,
    "float16": 18,
    "int8": 9,
    "onebit": 2,
    "mixed": 2 + 1 + 2 + 2 + 1,
}
MIXED = (("int8", 5), ("float32", 1), ("onebit", 35), ("bfloat16", 3))
IDS = np.array([0, -1, 5, 77, 1 << 40, -(1 << 63), *RESERVED_IDS[:1]])
UNSEEN = np.array([123, 124, RESERVED_IDS[1]])


def segments_of(name):
    parts = (*MIXED, ("float16", 1)) if name == "mixed" else ((name, 35),)
    return [
        mt.Segment(
            dim,
            optimizer=mt.optimizers.Adagrad(0.1),
            initializer=mt.initializers.RandomNormal(0.0, 0.3),
            precision=PRECISIONS[kind],
        )
        for kind, dim in parts
    ]


def make_model(names, num_shards=2):
    """A model that reads a table of each name."""
    inputs, rows = {}, []
    with mt.TableSet(num_shards=num_shards):
        for name in names:
            config = mt.TableConfig(name, segments=segments_of(name), seed=3)
            inputs[name] = tf_keras.Input([], dtype="int64", name=name)
            rows.append(mt.layers.DynamicEmbedding(config)(inputs[name]))
        rows = tf_keras.layers.Concatenate()(rows) if rows[1:] else rows[0]
        score = tf_keras.layers.Dense(1, name="score")(rows)
        return tf_keras.Model(inputs, {"score": score})


def train(table, num_steps, ids=IDS, seed=4):
    random = np.random.default_rng(seed)
    for _ in range(num_steps):
        gradients = random.normal(size=[len(ids), table.dim])
        table.apply_gradients(ids, gradients.astype(np.float32))


@pytest.fixture(params=list(STORED), scope="module")
def name(request):
    return request.param


# "mixed" has every precision in one row; `exported` has an export of each.
@pytest.fixture(
    params=[
        "mixed",
        *(
            pytest.param(name, marks=pytest.mark.soak)
            for name in STORED
            if name != "mixed"
        ),
    ]
)
def model(request):
    return make_model([request.param])


@pytest.fixture
def table(model):
    (table,) = tables_of(model)
    return table


class Served:
    """A loaded export of one table, and its streams."""

    def __init__(self, record, table):
        self.record = record
        self.table_set = table.table_set
        self.cuts = list(record.cuts)
        self.sequences = [0] * record.num_shards
        self.signatures = tf.saved_model.load(record).signatures

    def lookup(self, ids):
        found = self.signatures["monolith_lookup_0"](ids=tf.constant(ids))
        return found["rows"].numpy(), found["exists"].numpy().tolist()

    def status(self):
        found = self.signatures["monolith_status"](
            query=tf.zeros([1, 1], tf.int64)
        )
        return {
            name: found[name].numpy()[0].tolist()
            for name in ("live_rows", "dead_rows", "buckets", "last_sequences")
        }

    def send(self, shard, generation, sequence, ids, live, rows):
        record = self.record
        header = [1, record.export_id, generation, shard, record.num_shards]
        reply = self.signatures["monolith_apply_delta"](
            header=tf.constant([[*header, 0, sequence, sequence]], tf.int64),
            ids_0=tf.constant([ids], tf.int64),
            exists_0=tf.constant([np.int64(live).tolist()], tf.int64),
            rows_0=tf.constant(np.reshape(rows, [1, -1]), tf.float32),
            dense=tf.constant([b""]),
        )
        return int(reply["status"][0]), reply["message"].numpy()[0].decode()

    def deliver(self):
        """Sends what changed since the last time; the last status."""
        for shard in range(self.record.num_shards):
            delta = self.table_set.take_delta(shard, self.cuts[shard])
            (change,) = delta.tables.values()
            status, message = self.send(
                shard,
                delta.generation,
                self.sequences[shard] + 1,
                change.ids,
                change.exists,
                change.rows,
            )
            if status:
                return status, message
            self.cuts[shard] = delta.to_cut
            self.sequences[shard] += 1
        return 0, ""


def assert_same(served, table, ids):
    rows, _ = served.lookup(ids)
    assert rows.tobytes() == table.lookup(ids).numpy().tobytes()


def export(model, path, **arguments):
    arguments.setdefault("expected_rows", 50)
    record = export_saved_model(model, path, **arguments)
    (table,) = tables_of(model)
    return record, Served(record, table)


@pytest.fixture(scope="module")
def exported(name, tmp_path_factory):
    """A trained table and its export, for tests that change neither."""
    model = make_model([name])
    (table,) = tables_of(model)
    train(table, 6)
    record, served = export(model, tmp_path_factory.mktemp("export"))
    return table, record, served


@pytest.mark.slow
def test_an_export_has_the_bits_of_the_trainer(exported, name):
    table, record, served = exported
    assert record.tables[0]["stored"] == STORED[name]
    assert_same(served, table, np.append(IDS, UNSEEN))
    _, live = served.lookup(np.append(IDS, UNSEEN))
    assert live == [1] * len(IDS) + [0] * len(UNSEEN)
    # The file has all but the reserved id, each weight in its precision.
    (file,) = os.scandir(os.path.join(record.path, "assets"))
    layout = "" if name == "float32" else STORED[name]
    row_bytes = 8 + 4 * WIDTHS[name]
    assert file.stat().st_size == 36 + len(layout) + row_bytes * (len(IDS) - 1)


@pytest.mark.slow
def test_deltas_keep_it_the_trainer_bit_for_bit(model, table, tmp_path):
    train(table, 6)
    _, served = export(model, tmp_path)
    train(table, 3, seed=5)
    table.remove([5, RESERVED_IDS[0]])
    table.assign([RESERVED_IDS[1]], np.full([1, table.dim], 0.25, np.float32))
    assert served.deliver() == (0, "")
    assert_same(served, table, np.append(IDS, UNSEEN))
    _, live = served.lookup(np.append(IDS, UNSEEN))
    assert live == [1, 1, 0, 1, 1, 1, 0, 0, 0, 1]
    assert served.status()["live_rows"] == [table.size()] == [6]
    assert served.status()["dead_rows"] == [2]
    # What died lives again.
    train(table, 1, seed=6)
    assert served.deliver() == (0, "")
    assert_same(served, table, np.append(IDS, UNSEEN))
    assert served.status()["dead_rows"] == [0]


@pytest.mark.slow
def test_a_table_grows_beyond_the_rows_that_were_expected(tmp_path):
    model = make_model(["mixed"])
    (table,) = tables_of(model)
    train(table, 6)
    _, served = export(model, tmp_path, expected_rows=4)
    before = served.status()["buckets"]
    many = np.arange(1000, 4000)
    train(table, 1, many)
    assert served.deliver() == (0, "")
    assert_same(served, table, np.r_[IDS, many, UNSEEN])
    assert served.status()["buckets"][0] > 100 * before[0]


EXTREMES = np.array(
    [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38]
    # Subnormal and smallest numbers of the precisions, and ends of ranges.
    + [2.0**-24, -(2.0**-24), 2.0**-14 - 2.0**-24, 2.0**-133, 1e-45, -1e-45]
    + [65504.0, -65504.0, 65520.0, 0.75, -0.75, 0.3, -0.3, 0.75 / 127, 0.002],
    np.float32,
)


@pytest.mark.slow
def test_extreme_weights_travel_bit_for_bit(model, table, tmp_path):
    train(table, ANNEAL_STEPS, ids=[1])
    _, early = export(model, tmp_path / "early")
    ids = np.arange(len(EXTREMES))
    table.assign(ids, np.repeat(EXTREMES[:, None], table.dim, axis=1))
    _, late = export(model, tmp_path / "late")
    assert early.deliver() == (0, "")
    for served in (early, late):
        assert_same(served, table, ids)


def test_a_row_that_the_precision_cannot_hold_is_refused_as_a_whole(
    exported, name
):
    table, record, served = exported
    if name == "float32":
        return
    rows, live = served.lookup(IDS)
    before = served.status()
    foreign = np.copy(rows[:2])
    foreign[1, -1] = 0.1
    status, message = served.send(
        0, record.generations[0], 1, [5, 6], [1, 1], foreign
    )
    assert status == 5
    assert message == (
        f"rows_0 has 1 weights that table '{name}' can't keep, the first at "
        f"[0, {2 * table.dim - 1}] is 0.1; expected rows of {STORED[name]}, as "
        "the trainer of this export reads them: send those, or write a new "
        "export"
    )
    assert served.status() == before
    after, live_after = served.lookup(IDS)
    assert after.tobytes() == rows.tobytes()
    assert live_after == live


def test_rows_of_another_length_are_refused_before_they_are_read(exported):
    table, record, served = exported
    status, message = served.send(
        0, record.generations[0], 1, [5], [1], np.zeros(table.dim + 1)
    )
    assert status == 5
    assert message.startswith(f"rows_0 has {table.dim + 1} floats, expected")


def test_dump_shows_rows_and_how_they_are_kept(exported, name):
    table, record, _ = exported
    dim, stored = table.dim, STORED[name]
    assert (
        f"  table {name!r}: dim {dim}, {len(IDS)} rows, 128 buckets, stored as "
        f"{stored}" in list(dump(record))
    )
    (file,) = os.scandir(os.path.join(record.path, "assets"))
    first, *lines = dump(file.path)
    assert first == (
        f"row file: {len(IDS) - 1} rows of dim {dim}, stored as {stored}"
    )
    row = ", ".join(f"{v:.6g}" for v in table.lookup([77]).numpy()[0, :8])
    assert f"    77: [{row}, ...]" in lines


@pytest.fixture
def annealing():
    """A model of one OneBit table, a step before its values are two."""
    model = make_model(["onebit"])
    (table,) = tables_of(model)
    train(table, ANNEAL_STEPS - 1)
    return model, table


@pytest.mark.slow
def test_amid_annealing_rows_are_floats_and_deltas_outlast_it(
    annealing, tmp_path
):
    model, table = annealing
    record, served = export(model, tmp_path)
    assert record.tables[0]["stored"] == "float32[35]"
    assert_same(served, table, IDS)
    assert len(np.unique(np.abs(served.lookup(IDS)[0]))) > 100
    train(table, 3)
    assert served.deliver() == (0, "")
    assert_same(served, table, IDS)
    assert len(np.unique(np.abs(served.lookup(IDS)[0]))) == 1
    record, served = export(model, tmp_path)
    assert record.tables[0]["stored"] == "onebit(0.3)[35]"
    assert_same(served, table, np.append(IDS, UNSEEN))


@pytest.mark.slow
def test_one_server_that_is_behind_keeps_rows_floats(annealing, tmp_path):
    model, table = annealing
    train(table, 1)
    assert least_step(table) == ANNEAL_STEPS
    assert export(model, tmp_path)[0].tables[0]["stored"] == "onebit(0.3)[35]"
    clock = tf.constant([ANNEAL_STEPS - 1, 0], tf.int64)
    ops.set_clock(servers_of(table.table_set)[1].handle, clock, table="onebit")
    assert least_step(table) == ANNEAL_STEPS - 1
    record, served = export(model, tmp_path)
    assert record.tables[0]["stored"] == "float32[35]"
    assert_same(served, table, IDS)


def least_step(table):
    return min(step for step, _ in table.table_set.clocks(table.name))


def restore_checkpoint(model, table, path):
    checkpoint = tf.train.Checkpoint(table=table)
    saved = checkpoint.save(os.path.join(path, "checkpoint"))
    return lambda: checkpoint.restore(saved)


def load_keras_file(model, table, path):
    del table
    file = os.path.join(path, "model.keras")
    model.save(file)
    return lambda: model.load_weights(file)


@pytest.mark.slow
@pytest.mark.parametrize("save", [restore_checkpoint, load_keras_file])
def test_a_step_that_goes_back_is_another_generation(annealing, tmp_path, save):
    model, table = annealing
    go_back = save(model, table, tmp_path)
    train(table, 2)
    record, served = export(model, tmp_path / "models")
    assert record.tables[0]["stored"] == "onebit(0.3)[35]"
    go_back()
    assert least_step(table) == ANNEAL_STEPS - 1
    generations = table.table_set.generations()
    assert not set(generations) & set(record.generations)
    status, message = served.send(0, generations[0], 1, [], [], [])
    assert status == 3
    assert "write a new export" in message
    record, served = export(model, tmp_path / "models")
    assert record.tables[0]["stored"] == "float32[35]"
    assert_same(served, table, IDS)


def test_a_step_that_goes_back_while_rows_are_read_fails_the_export(
    annealing, tmp_path, monkeypatch
):
    model, table = annealing
    monkeypatch.setattr(
        table.table_set, "clocks", lambda name: [(ANNEAL_STEPS, 0)] * 2
    )
    with pytest.raises(ExportError, match=r"no onebit\(0.3\)\[35\]: a shard"):
        export_saved_model(model, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_pusher_keeps_a_server_of_all_precisions_the_trainer(
    base_path, make_server, make_client, make_pusher
):
    model = make_model(list(STORED))
    tables = tables_of(model)
    for table in tables:
        train(table, 5)
    record = export_saved_model(model, base_path, expected_rows=200)
    server = make_server()
    client = make_client(server)
    pusher = make_pusher(server, record, Source(model), can_export=False)
    for seed in range(3):
        for table in tables:
            train(table, 2, np.r_[IDS, seed * 100 : seed * 100 + 99], seed)
            table.remove([seed, 77])
            table.assign([seed - 9], np.full([1, table.dim], 0.3, np.float32))
        assert pusher.push().delivered
    ids = np.r_[IDS, UNSEEN, -20:400]
    for index, table in enumerate(tables):
        outputs = client.predict(
            "ranker", {"ids": ids}, f"monolith_lookup_{index}"
        ).outputs
        rows = np.asarray(outputs["rows"], np.float32)
        assert rows.tobytes() == table.lookup(ids).numpy().tobytes()
        live = ids[outputs["exists"] != 0]
        assert set(live) == {id for some, _ in table.export() for id in some}
    inputs = {name: tf.constant(ids) for name in STORED}
    np.testing.assert_allclose(
        client.predict("ranker", dict.fromkeys(STORED, ids)).outputs["score"],
        model(inputs)["score"],
        rtol=1e-5,
        atol=1e-6,
    )


class Source:
    """Source that `make_pusher` reads."""

    def __init__(self, model):
        self.model = model
