"""Refused exports say why, and leave nothing behind."""

from __future__ import annotations

import os

import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf import serving
from monolith_tf.errors import ExportError
from monolith_tf.placement.registry import tables_of
from monolith_tf.serving import export as export_module

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def make_config(name="movie"):
    return mt.TableConfig(name, 2)


def one_table_model():
    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(make_config())(ids)
    return tf_keras.Model({"movie_id": ids}, {"rows": rows})


def ragged_model(padding_id):
    inputs = {
        "movie_id": tf_keras.Input([], dtype="int64", name="movie_id"),
        "genres": tf_keras.Input(
            [None], dtype="int64", ragged=True, name="genres"
        ),
    }
    with mt.TableSet():
        layer = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("movie_id", make_config()),
                mt.FeatureConfig(
                    "genres", make_config("genre"), "sum", padding_id
                ),
            ]
        )
    return tf_keras.Model(inputs, layer(inputs))


@pytest.fixture(scope="module")
def model():
    return ragged_model(padding_id=0)


@pytest.mark.slow
def test_versions_follow_each_other(tmp_path):
    model = one_table_model()
    (tmp_path / "not-a-version").mkdir()
    versions = [
        serving.export_saved_model(model, tmp_path / "a" / "b", version=v)
        for v in (None, None, 7, None, 3)
    ]
    assert [record.version for record in versions] == [1, 2, 7, 8, 3]
    # Nothing but versions: what was under way is gone or has its name.
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["1", "2", "3", "7", "8"]


def test_a_version_is_never_overwritten(model, tmp_path):
    serving.export_saved_model(model, tmp_path)
    directory = tmp_path
    before = sorted(os.listdir(directory))
    with pytest.raises(
        FileExistsError, match="Version 1 exists in .* Pass a higher version"
    ):
        serving.export_saved_model(model, directory, version=1)
    assert sorted(os.listdir(directory)) == before


def test_a_version_that_appears_meanwhile_is_not_overwritten(
    tmp_path, monkeypatch
):
    sync = export_module.saved_model_files.sync

    def other_process_is_faster(path):
        sync(path)
        (tmp_path / "1" / "assets").mkdir(parents=True)

    monkeypatch.setattr(
        export_module.saved_model_files, "sync", other_process_is_faster
    )
    with pytest.raises(FileExistsError, match="Version 1 exists"):
        serving.export_saved_model(one_table_model(), tmp_path)
    assert os.listdir(tmp_path) == ["1"]
    assert os.listdir(tmp_path / "1") == ["assets"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ExportError, match="Can't write an export to .*file"):
        serving.export_saved_model(one_table_model(), tmp_path / "file" / "x")


def test_a_shard_restored_meanwhile_fails_the_export(tmp_path, monkeypatch):
    model = one_table_model()
    (table,) = tables_of(model)
    answers = iter([[1], [2]])
    monkeypatch.setattr(
        type(table.table_set), "generations", lambda self: next(answers)
    )
    with pytest.raises(ExportError, match="restored or restarted while"):
        serving.export_saved_model(model, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_model_without_tables_is_refused(tmp_path):
    x = tf_keras.Input([2])
    model = tf_keras.Model(x, tf_keras.layers.Dense(1)(x))
    with pytest.raises(ValueError, match="has no tables"):
        serving.export_saved_model(model, tmp_path)


def test_a_padded_feature_without_padding_id_is_named_with_its_input(
    tmp_path,
):
    model = ragged_model(padding_id=None)
    message = (
        "Ragged input 'genres' has no padding.*it is read without a padding_id "
        "by feature 'genres'.*ragged=\"row_splits\""
    )
    with pytest.raises(ValueError, match=message):
        serving.export_saved_model(model, tmp_path, ragged="padded")
    serving.export_saved_model(model, tmp_path, ragged="row_splits")


def test_a_refused_export_does_not_make_tables_log_their_changes(tmp_path):
    model = ragged_model(padding_id=None)
    with pytest.raises(ValueError, match="has no padding"):
        serving.export_saved_model(model, tmp_path, ragged="padded")
    (table_set,) = {t.table_set for t in tables_of(model)}
    with pytest.raises(tf.errors.FailedPreconditionError):
        table_set.take_delta(0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"string_features": ["movie"]},
            r"string_features names \['movie'\], which the model does not take."
            r" Its inputs are \['genres', 'movie_id'\]",
        ),
        ({"string_features": "movie_id"}, "must be a list of names"),
        ({"ragged": "flat"}, 'must be "padded", "row_splits" or None.*flat'),
        ({"version": 0}, "version must be from 1 to .* Received: 0"),
        ({"version": "1"}, "version must be a positive integer.*'1'"),
        ({"expected_rows": 0}, "from 1 to 3458764513820540928. Received: 0"),
        ({"expected_rows": 2**62}, "from 1 to 34587.*Received: 461168601842"),
        (
            {"expected_rows": {"user": 5}},
            r"names \['user'\], the tables of the model are \['genre', 'movie'",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    model, tmp_path, arguments, message
):
    with pytest.raises(ValueError, match=message):
        serving.export_saved_model(model, tmp_path, **arguments)
    assert os.listdir(tmp_path) == []


def test_after_the_last_version_that_servers_read_no_export_is_made(
    model, tmp_path
):
    (tmp_path / str(2**31)).mkdir()
    record = serving.export_saved_model(model, tmp_path)
    assert record.version == 2**31 + 1
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(mt.errors.ExportError, match="No version is left in"):
        serving.export_saved_model(model, tmp_path)


def test_a_float_feature_can_not_travel_as_strings(tmp_path):
    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    age = tf_keras.Input([], name="age")
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(make_config())(ids)
    model = tf_keras.Model([ids, age], rows * age[:, None])
    with pytest.raises(ValueError, match="'age'.*int64.*Received: float32"):
        serving.export_saved_model(model, tmp_path, string_features=["age"])


def test_an_op_of_this_library_is_refused_with_its_layer(tmp_path):
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(make_config(), name="rows_of_movie")

    class Counting(tf_keras.layers.Layer):
        def call(self, rows):
            return rows + tf.cast(layer.table.size(), tf.float32)

    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    model = tf_keras.Model(ids, Counting(name="counting")(layer(ids)))
    with pytest.raises(
        ExportError, match=r"still has the op Monolith\w+ at '.*counting"
    ):
        serving.export_saved_model(model, tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_variable_that_the_model_does_not_hold_is_refused(tmp_path):
    hidden = tf.Variable(2.0, name="hidden")

    class Scaling(tf_keras.layers.Layer):
        def call(self, rows):
            return rows * hidden

    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(make_config())(ids)
    model = tf_keras.Model(ids, Scaling()(rows))
    with pytest.raises(
        ExportError, match="not part of it: variable 'hidden:0'"
    ):
        serving.export_saved_model(model, tmp_path)


def test_a_table_that_no_layer_holds_is_refused(tmp_path):
    with mt.TableSet():
        table = mt.Table(make_config("secret"))
        layer = mt.layers.DynamicEmbedding(make_config())

    class Reading(tf_keras.layers.Layer):
        def call(self, ids):
            return table.lookup(ids)

    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    model = tf_keras.Model(ids, Reading()(ids) + layer(ids))
    with pytest.raises(ExportError, match="reads table 'secret'.*'movie'"):
        serving.export_saved_model(model, tmp_path)


def test_a_dense_variable_of_strings_is_refused(tmp_path):
    class Naming(tf_keras.layers.Layer):
        def build(self, shape):
            self.label = tf.Variable("name", name="label")

        def call(self, rows):
            return rows

    ids = tf_keras.Input([], dtype="int64", name="movie_id")
    with mt.TableSet():
        rows = mt.layers.DynamicEmbedding(make_config())(ids)
    model = tf_keras.Model(ids, Naming()(rows))
    with pytest.raises(ValueError, match="label:0' of dtype string"):
        serving.export_saved_model(model, tmp_path)


def test_an_output_that_is_no_tensor_is_refused(tmp_path):
    ids = tf_keras.Input([None], dtype="int64", ragged=True, name="tags")
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(make_config(), padding_id=0)
    model = tf_keras.Model(ids, layer(ids))
    with pytest.raises(ExportError, match="Received: RaggedTensor.*to_tensor"):
        serving.export_saved_model(model, tmp_path)
