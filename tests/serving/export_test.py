"""A model exported, loaded by stock TensorFlow, and what can't be exported."""

from __future__ import annotations

import functools
import json
import os
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving
from monolith_tf.errors import FormatError
from monolith_tf.placement.registry import tables_of
from monolith_tf.serving import export as export_module
from monolith_tf.serving.dump import dump
from monolith_tf.serving.export_record import ExportRecord
from monolith_tf.serving.graph.row_file import RowFileWriter

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_config(name="movie", dim=2, **arguments):
    arguments.setdefault("initializer", mt.initializers.RandomUniform())
    return mt.TableConfig(
        name, dim, optimizer=mt.optimizers.Adagrad(0.5), **arguments
    )


def make_model():
    """Dense, ragged and sparse features of two tables."""
    movie, genre = make_config(), make_config("genre", 3)
    inputs = {
        "movie_id": tf_keras.Input([], dtype="int64", name="movie_id"),
        "genres": tf_keras.Input(
            [None], dtype="int64", ragged=True, name="genres"
        ),
        "tags": tf_keras.Input([None], dtype="int64", sparse=True, name="tags"),
    }
    with mt.TableSet(num_shards=2):
        vectors = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("movie_id", movie),
                mt.FeatureConfig("genres", genre, "mean", 0),
                mt.FeatureConfig("tags", genre, "sum", -1),
            ]
        )(inputs)
    x = tf.concat([vectors[name] for name in sorted(vectors)], axis=-1)
    x = tf_keras.layers.BatchNormalization()(x)
    score = tf_keras.layers.Dense(1, name="score")(x)
    model = tf_keras.Model(inputs, score)
    model.compile(mt.optimizers.with_tables("adam"), "mse")
    return model


def one_table_model(config=None):
    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(config or make_config())(ids)
    return tf_keras.Model({"movie_id": ids}, {"rows": rows})


BATCH = {
    "movie_id": tf.constant([1, 2, 3], tf.int64),
    "genres": tf.ragged.constant([[1, 2], [], [3]], dtype=tf.int64),
    "tags": tf.sparse.from_dense(
        tf.constant([[5, 0], [6, 7], [0, 0]], tf.int64)
    ),
}
PADDED = {
    "movie_id": BATCH["movie_id"],
    "genres": tf.constant([[1, 2, 0], [0, 0, 0], [3, 0, 0]], tf.int64),
    "tags": tf.constant([[5, -1], [6, 7], [-1, -1]], tf.int64),
}


def train(model, epochs=1):
    labels = tf.constant([[1.0], [0.0], [1.0]])
    model.fit(BATCH, labels, batch_size=3, epochs=epochs, verbose=0)


def answer(model, batch=BATCH):
    return model(batch, training=False).numpy()


def signature_of(loaded, name="serving_default"):
    return loaded.signatures[name]


def score(loaded, batch=PADDED):
    return signature_of(loaded)(**batch)["score"].numpy()


def status(loaded):
    outputs = signature_of(loaded, "monolith_status")(
        query=tf.zeros([1, 1], tf.int64)
    )
    return {k: v.numpy().reshape(-1).tolist() for k, v in outputs.items()}


def lookup(loaded, ids, table=0):
    outputs = signature_of(loaded, f"monolith_lookup_{table}")(
        ids=tf.constant(ids, tf.int64)
    )
    return outputs["rows"].numpy(), outputs["exists"].numpy().tolist()


def send(loaded, record, sequence, shard=0, tables=None, dense=b""):
    """Applies a delta; `tables` are (ids, exists, rows) by name."""
    num_shards = record.num_shards
    generation = [*record.generations, record.export_id][shard]
    header = [1, record.export_id, generation, shard, num_shards, 0, sequence]
    inputs = {
        "header": tf.constant([[*header, sequence]], tf.int64),
        "dense": tf.constant([dense]),
    }
    for index, table in enumerate(record.tables):
        ids, exists, rows = (tables or {}).get(
            table["name"], ([], [], np.zeros([0, table["dim"]]))
        )
        rows = np.asarray(rows, np.float32)
        inputs[f"ids_{index}"] = tf.constant([ids], tf.int64)
        inputs[f"exists_{index}"] = tf.constant([exists], tf.int64)
        inputs[f"rows_{index}"] = tf.constant(rows.reshape(1, -1))
    outputs = signature_of(loaded, "monolith_apply_delta")(**inputs)
    assert outputs["status"].numpy() == [0], outputs["message"].numpy()


@pytest.fixture(scope="module")
def trained():
    model = make_model()
    train(model)
    return model


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    return serving.export_saved_model(
        trained, tmp_path_factory.mktemp("export")
    )


@pytest.mark.slow
def test_the_export_answers_as_the_trainer(trained, exported):
    np.testing.assert_array_equal(
        score(tf.saved_model.load(exported)), answer(trained)
    )


def test_a_session_answers_as_the_trainer(trained, exported):
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(
            session, ["serve"], exported.path
        )
        signature = meta_graph.signature_def["serving_default"]
        scores = session.run(
            signature.outputs["score"].name,
            {
                signature.inputs[name].name: value.numpy()
                for name, value in PADDED.items()
            },
        )
    np.testing.assert_array_equal(scores, answer(trained))


@pytest.mark.slow
def test_features_travel_as_row_splits(trained, tmp_path):
    record = serving.export_saved_model(trained, tmp_path, ragged="row_splits")
    tags = tf.RaggedTensor.from_sparse(BATCH["tags"])
    request = {
        "movie_id": BATCH["movie_id"],
        "genres:values": BATCH["genres"].values,
        "genres:row_splits": BATCH["genres"].row_splits,
        "tags:values": tags.values,
        "tags:row_splits": tags.row_splits,
    }
    np.testing.assert_array_equal(
        score(tf.saved_model.load(record), request), answer(trained)
    )
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta_graph = tf.compat.v1.saved_model.load(
            session, ["serve"], record.path
        )
        signature = meta_graph.signature_def["serving_default"]
        assert sorted(signature.inputs) == sorted(request)


@pytest.mark.slow
def test_features_travel_as_strings(trained, tmp_path):
    record = serving.export_saved_model(
        trained, tmp_path, string_features=["movie_id", "genres"]
    )
    batch = {
        "movie_id": mt.ids.from_strings(["a", "b", ""]),
        "genres": mt.ids.from_strings(
            tf.ragged.constant([["x", "y"], [], ["z"]])
        ),
        "tags": BATCH["tags"],
    }
    request = {
        "movie_id": tf.constant(["a", "b", ""]),
        "genres": tf.constant([["x", "y"], ["", ""], ["z", ""]]),
        "tags": PADDED["tags"],
    }
    np.testing.assert_array_equal(
        score(tf.saved_model.load(record), request), answer(trained, batch)
    )


@pytest.mark.slow
def test_a_layer_of_one_feature_is_padded_by_its_own_id(tmp_path):
    ids = tf_keras.Input([None], dtype="int64", ragged=True, name="tags")
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(make_config(), "sum", padding_id=9)
    model = tf_keras.Model(ids, layer(ids))
    record = serving.export_saved_model(model, tmp_path)
    (output,) = signature_of(tf.saved_model.load(record))(
        tags=tf.constant([[1, 2, 9], [3, 9, 9]], tf.int64)
    ).values()
    expected = model(tf.ragged.constant([[1, 2], [3]], dtype=tf.int64))
    np.testing.assert_array_equal(output, expected)


@pytest.mark.slow
def test_a_subclassed_model_names_its_outputs(tmp_path):
    class Model(tf_keras.Model):
        def __init__(self):
            super().__init__()
            with mt.TableSet():
                self.rows = mt.layers.DynamicEmbedding(make_config())

        def call(self, features):
            rows = self.rows(features["user id"])
            return {"sum": tf.reduce_sum(rows, -1), "rows": rows}

    spec = {"user id": tf.TensorSpec([None], tf.int64)}
    with pytest.raises(ValueError, match="does not know its inputs"):
        serving.export_saved_model(Model(), tmp_path)
    record = serving.export_saved_model(Model(), tmp_path, inputs=spec)
    outputs = signature_of(tf.saved_model.load(record))(
        **{"user id": tf.constant([5], tf.int64)}
    )
    assert sorted(outputs) == ["rows", "sum"]
    called = Model()
    called({"user id": tf.constant([5], tf.int64)})
    serving.export_saved_model(called, tmp_path)


def test_a_vocabulary_of_the_model_goes_with_it(tmp_path):
    name = tf_keras.Input([], dtype="string", name="name")
    indices = tf_keras.layers.StringLookup(vocabulary=["a", "b"])(name)
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(make_config())(indices)
    model = tf_keras.Model(name, rows)
    record = serving.export_saved_model(model, tmp_path)
    (output,) = signature_of(tf.saved_model.load(record))(
        name=tf.constant(["b", "x"])
    ).values()
    np.testing.assert_array_equal(output, model(tf.constant(["b", "x"])))


def test_the_record_says_what_the_export_holds(trained, exported):
    (table_set,) = {t.table_set for t in tables_of(trained)}
    loaded = ExportRecord.load(exported)
    assert loaded == exported
    assert os.fspath(loaded) == exported.path
    assert exported.generations == table_set.generations()
    assert len(exported.cuts) == exported.num_shards == 2
    assert exported.tables == [
        {
            "name": "genre",
            "dim": 3,
            "rows": 6,
            "buckets": 4096,
            "stored": "float32[3]",
        },
        {
            "name": "movie",
            "dim": 2,
            "rows": 3,
            "buckets": 4096,
            "stored": "float32[2]",
        },
    ]
    assert exported.dense == [
        {"name": v.name, "dtype": "float32", "shape": v.shape.as_list()}
        for v in serving.dense_variables(trained)
    ]
    assert len(exported.dense) == 6
    assert exported.features["genres"] == {
        "kind": "padded",
        "inputs": {"genres": {"dtype": "int64", "shape": [None, None]}},
        "padding": 0,
    }
    fields = json.loads(
        open(f"{exported.path}/assets.extra/monolith_export.json").read()
    )
    assert (fields["format"], fields["num_shards"]) == (1, 2)
    loaded_status = status(tf.saved_model.load(exported))
    assert loaded_status["export_id"] == [exported.export_id]
    assert loaded_status["generations"] == [
        *exported.generations,
        exported.export_id,
    ]
    assert loaded_status["last_sequences"] == [0, 0, 0]
    assert loaded_status["live_rows"] == [6, 3]
    assert loaded_status["buckets"] == [4096, 4096]


def test_a_record_that_does_not_say_how_rows_are_kept_loads(exported, tmp_path):
    fields = json.loads(exported.to_json())
    for table in fields["tables"]:
        del table["stored"]
    version = tmp_path / "1"
    (version / "assets.extra").mkdir(parents=True)
    file = version / "assets.extra" / "monolith_export.json"
    file.write_text(json.dumps(fields))
    assert ExportRecord.load(version).tables == fields["tables"]
    lines = list(dump(version))
    assert "  table 'movie': dim 2, 3 rows, 4096 buckets" in lines


def test_a_directory_that_is_no_export_has_no_record(tmp_path):
    with pytest.raises(
        FormatError, match="does not exist, so .* is not a version"
    ):
        ExportRecord.load(tmp_path)
    (tmp_path / "assets.extra").mkdir()
    file = tmp_path / "assets.extra" / "monolith_export.json"
    file.write_text('{"format": 2, "num_shards": 1}')
    with pytest.raises(FormatError, match="format 2, expected 1"):
        ExportRecord.load(tmp_path)
    file.write_text("{")
    with pytest.raises(FormatError, match="is not a valid export record"):
        ExportRecord.load(tmp_path)


def test_the_export_holds_stock_ops_only(exported):
    with open(f"{exported.path}/saved_model.pb", "rb") as file:
        assert not re.search(rb"\bMonolith[A-Z]", file.read())


@pytest.mark.slow
def test_rows_of_several_files_load_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(
        export_module,
        "RowFileWriter",
        functools.partial(RowFileWriter, target_bytes=16 * 7),
    )
    model = one_table_model()
    (table,) = tables_of(model)
    ids = np.arange(-50, 50)
    rows = np.arange(200, dtype=np.float32).reshape(100, 2)
    table.assign(ids, rows)
    record = serving.export_saved_model(model, tmp_path)
    assert len(os.listdir(f"{record.path}/assets")) == 15
    read, live = lookup(tf.saved_model.load(record), [*ids, 50])
    np.testing.assert_array_equal(read[:-1], rows)
    assert live == [1] * 100 + [0]


@pytest.mark.slow
def test_a_damaged_row_file_is_refused_when_loaded(tmp_path):
    model = one_table_model()
    (table,) = tables_of(model)
    table.assign([1], [[1.0, 2.0]])
    record = serving.export_saved_model(model, tmp_path)
    (name,) = os.listdir(f"{record.path}/assets")
    with open(f"{record.path}/assets/{name}", "r+b") as file:
        file.seek(40)
        file.write(b"\x01")
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=f"is damaged.*{name}"
    ):
        tf.saved_model.load(record)


@pytest.mark.slow
def test_tables_are_sized_for_the_rows_that_are_expected(tmp_path):
    model = one_table_model()
    (table,) = tables_of(model)
    table.assign(np.arange(10), np.zeros([10, 2], np.float32))
    for expected, buckets in [(None, 4096), (1, 16), ({"movie": 40}, 64)]:
        record = serving.export_saved_model(
            model, tmp_path, expected_rows=expected
        )
        assert record.tables[0]["buckets"] == buckets
        assert status(tf.saved_model.load(record))["buckets"] == [buckets]


@pytest.mark.slow
@pytest.mark.parametrize(
    "initializer",
    [
        mt.initializers.Zeros(),
        mt.initializers.Constant(0.25),
        mt.initializers.RandomUniform(-1.0, 3.0),
        mt.initializers.TruncatedNormal(0.5, 2.0),
    ],
    ids=lambda initializer: initializer.kind,
)
def test_trainer_and_export_agree_on_all_kinds_of_ids(tmp_path, initializer):
    model = one_table_model(make_config(dim=3, initializer=initializer))
    (table,) = tables_of(model)
    special = [0, -1, -(2**63), 2**63 - 1]
    special += [0x6D6F6E6F6C697468, 0x74662D7365727665]
    seen = np.array([*special[::2], 5], np.int64)
    table.apply_gradients(seen, np.full([4, 3], 0.5, np.float32))
    loaded = tf.saved_model.load(serving.export_saved_model(model, tmp_path))
    ids = tf.constant([*special, 5, 6], tf.int64)
    outputs = signature_of(loaded)(movie_id=ids)
    np.testing.assert_array_equal(
        outputs["rows"].numpy().view(np.uint32),
        table.lookup(ids).numpy().view(np.uint32),
    )
    _, live = lookup(loaded, ids)
    assert live == [int(id_ in seen) for id_ in ids.numpy()]
    assert status(loaded)["live_rows"] == [4]


@pytest.mark.slow
def test_deltas_bring_the_export_to_the_trainer_bit_for_bit(tmp_path):
    model = make_model()
    train(model)
    record = serving.export_saved_model(model, tmp_path)
    tables = tables_of(model)
    before = answer(model)
    train(model, epochs=3)
    tables[1].remove([2])
    tables[0].assign([0x6D6F6E6F6C697468, -1], np.ones([2, 3], np.float32))
    loaded = tf.saved_model.load(record)
    np.testing.assert_array_equal(score(loaded), before)
    for shard in range(2):
        delta = tables[0].table_set.take_delta(shard, record.cuts[shard])
        changes = {
            name: (table.ids, table.exists.astype(np.int64), table.rows)
            for name, table in delta.tables.items()
        }
        send(loaded, record, 1, shard, changes)
    dense = b"".join(v.numpy().tobytes() for v in model.variables[2:])
    assert len(serving.dense_variables(model)) == len(model.variables) - 2
    send(loaded, record, 1, 2, dense=dense)
    np.testing.assert_array_equal(score(loaded), answer(model))
    assert not np.array_equal(answer(model), before)
    for index, table in enumerate(tables):
        for ids, rows in table.export():
            read, live = lookup(loaded, ids, index)
            np.testing.assert_array_equal(read, rows)
            assert all(live)
    assert status(loaded)["live_rows"] == [t.size() for t in tables]
    assert status(loaded)["dead_rows"] == [0, 1]


@pytest.mark.slow
def test_export_and_trainer_do_not_change_each_other(tmp_path):
    model = make_model()
    train(model)
    record = serving.export_saved_model(model, tmp_path)
    loaded = tf.saved_model.load(record)
    before = score(loaded)
    train(model, epochs=2)
    np.testing.assert_array_equal(score(loaded), before)
    np.testing.assert_array_equal(score(tf.saved_model.load(record)), before)
    now = answer(model)
    size = sum(variable.shape.num_elements() for variable in model.variables)
    send(loaded, record, 1, 2, dense=np.ones(size, np.float32).tobytes())
    send(loaded, record, 1, 0, {"movie": ([1], [1], [[7.0, 7.0]])})
    assert not np.array_equal(score(loaded), before)
    np.testing.assert_array_equal(answer(model), now)


@pytest.mark.slow
def test_copies_in_one_process_share_nothing(trained, exported, tmp_path):
    other = serving.export_saved_model(trained, tmp_path)
    assert other.export_id != exported.export_id
    changed = tf.saved_model.load(exported)
    same = tf.saved_model.load(exported)
    version = tf.saved_model.load(other)
    before = score(changed)
    send(changed, exported, 1, 0, {"movie": ([1], [1], [[7.0, 7.0]])})
    assert not np.array_equal(score(changed), before)
    assert status(changed)["last_sequences"] == [1, 0, 0]
    for loaded in (same, version, tf.saved_model.load(exported)):
        np.testing.assert_array_equal(score(loaded), before)
        assert status(loaded)["last_sequences"] == [0, 0, 0]
        _, live = lookup(loaded, [1], 1)
        assert live == [1]
