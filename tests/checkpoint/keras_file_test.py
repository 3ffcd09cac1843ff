"""Ways to keep a model: those that keep its rows work, the others refuse."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import monolith_tf as mt
from monolith_tf.checkpoint.table_rows import export_rows
from monolith_tf.placement.registry import tables_of

IDS = np.array([[1, 2], [2, 2], [-7, 1], [2**40, 5]], np.int64)
LABELS = np.array([0.0, 1.0, 0.0, 1.0], np.float32)


def make_model(**kwargs):
    """Two tables with slots, one of them on rows of two features."""
    movie = mt.TableConfig("movie", dim=2, optimizer=mt.optimizers.Adam(0.1))
    genre = mt.TableConfig("genre", dim=3, optimizer=mt.optimizers.Adagrad())
    inputs = tf_keras.Input([2], dtype="int64")
    with mt.TableSet():
        vectors = mt.layers.EmbeddingCollection(
            [
                mt.FeatureConfig("a", movie, combiner="sum"),
                mt.FeatureConfig("b", movie, combiner="mean", padding_id=2),
                mt.FeatureConfig("c", genre, combiner="sqrtn"),
            ]
        )({"a": inputs, "b": inputs, "c": inputs})
        hidden = tf_keras.layers.Concatenate()(list(vectors.values()))
        model = tf_keras.Model(inputs, tf_keras.layers.Dense(1)(hidden))
    model.compile(mt.optimizers.with_tables("adam"), "mse", **kwargs)
    return model


def fit(model, epochs=1, **kwargs):
    return model.fit(
        IDS,
        LABELS,
        batch_size=2,
        shuffle=False,
        epochs=epochs,
        verbose=0,
        **kwargs,
    )


def contents(model):
    """Table name to id to (seconds, weights and slots) for comparison."""
    return {
        table.name: {
            int(one): (int(time), row.tobytes())
            for ids, times, rows in export_rows(table)
            for one, time, row in zip(ids, times, rows, strict=True)
        }
        for table in tables_of(model)
    }


def weights(model):
    """Dense weights, as bytes."""
    return [w.numpy().tobytes() for w in model.layers[-1].weights]


def goes_on_like(other, model):
    """Trains both once more; slots and counts must be right for equality."""
    fit(model)
    fit(other)
    rows, expected = contents(other), contents(model)
    for name, table in expected.items():
        assert table.keys() == rows[name].keys()
        for one in table:
            assert rows[name][one][1] == table[one][1]
    assert weights(other) == weights(model)


def test_a_keras_file_keeps_rows_slots_times_and_the_optimizer(tmp_path):
    model = make_model()
    fit(model, epochs=3)
    model.save(tmp_path / "model.keras")
    loaded = tf_keras.models.load_model(tmp_path / "model.keras")
    assert contents(loaded) == contents(model)
    assert [len(rows) for rows in contents(loaded).values()] == [5, 5]
    assert weights(loaded) == weights(model)
    assert type(loaded.optimizer) is type(model.optimizer)
    for ours, theirs in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        loaded.predict(IDS, verbose=0), model.predict(IDS, verbose=0)
    )
    goes_on_like(loaded, model)


def test_layers_that_share_a_table_share_it_after_loading(tmp_path):
    config = mt.TableConfig("movie", dim=2)
    inputs = [tf_keras.Input([], dtype="int64", name=n) for n in "ab"]
    with mt.TableSet():
        outputs = [
            mt.layers.DynamicEmbedding(config, name="left")(inputs[0]),
            mt.layers.EmbeddingCollection(
                [mt.FeatureConfig("b", config)], name="right"
            )({"b": inputs[1]})["b"],
        ]
    model = tf_keras.Model(inputs, outputs)
    table = model.get_layer("left").table
    table.assign([1, 2], np.eye(2, dtype=np.float32))
    model.save(tmp_path / "model.keras")
    loaded = [
        tf_keras.models.load_model(tmp_path / "model.keras") for _ in range(2)
    ]
    for one in loaded:
        assert one.get_layer("left").table is one.get_layer("right").tables[0]
        assert contents(one) == contents(model)
    assert (
        loaded[0].get_layer("left").table
        is not loaded[1].get_layer("left").table
    )
    assert loaded[0].get_layer("left").table is not table


def test_a_keras_file_without_the_table_is_refused(tmp_path):
    inputs = tf_keras.Input([2], dtype="int64")
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=2))
        layer.table.assign([1], np.ones([1, 2], np.float32))
        other = mt.layers.DynamicEmbedding(mt.TableConfig("user", dim=2))
    tf_keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    model = tf_keras.Model(inputs, other(inputs))
    other.table.assign([9], np.ones([1, 2], np.float32))
    with pytest.raises(
        mt.errors.CheckpointError, match="no rows of table 'user'"
    ):
        model.load_weights(tmp_path / "model.keras")
    assert other.table.size() == 1


@pytest.mark.parametrize(
    "other",
    [
        mt.TableConfig("movie", dim=3, optimizer=mt.optimizers.Adagrad()),
        # Rows of another meaning, yet as long as those that were saved.
        mt.TableConfig("movie", dim=4, optimizer=mt.optimizers.SGD()),
    ],
    ids=["dim", "optimizer"],
)
def test_a_keras_file_of_another_dim_or_optimizer_is_refused(tmp_path, other):
    inputs = tf_keras.Input([2], dtype="int64")
    with mt.TableSet():
        saved = mt.layers.DynamicEmbedding(
            mt.TableConfig("movie", dim=2, optimizer=mt.optimizers.Adagrad())
        )
    saved.table.assign([1], np.ones([1, 2], np.float32))
    tf_keras.Model(inputs, saved(inputs)).save(tmp_path / "model.keras")
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(other)
    model = tf_keras.Model(inputs, layer(inputs))
    layer.table.assign([9], np.ones([1, other.dim], np.float32))
    with pytest.raises(
        mt.errors.CheckpointError,
        match=rf"'movie', which has .*dim={other.dim} .*The file has .*dim=2",
    ):
        model.load_weights(tmp_path / "model.keras")
    assert [ids.tolist() for ids, _ in layer.table.export()] == [[9]]


def test_weights_of_a_keras_file_load_into_the_same_model(tmp_path):
    model, other = make_model(), make_model()
    fit(model, epochs=2)
    fit(other)
    tables_of(other)[0].assign([77], np.ones([1, 3], "f"))
    model.save(tmp_path / "model.keras")
    other.load_weights(tmp_path / "model.keras")
    assert contents(other) == contents(model)


def test_weights_in_tensorflows_format_keep_rows_and_slots(tmp_path):
    model, other = make_model(), make_model()
    fit(model, epochs=2)
    model.save_weights(tmp_path / "weights")
    other.load_weights(tmp_path / "weights").assert_existing_objects_matched()
    assert contents(other) == contents(model)
    assert weights(other) == weights(model)
    goes_on_like(other, model)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")
@pytest.mark.parametrize("method", ["save", "save_weights"])
def test_h5_files_are_refused(tmp_path, method):
    model = make_model()
    fit(model)
    with pytest.raises(
        mt.MonolithError, match=r"rows of table .*model\.save_weights\(path\)"
    ):
        getattr(model, method)(tmp_path / "model.h5")


def test_weights_h5_files_of_the_native_format_keep_rows_and_slots(tmp_path):
    model, other = make_model(), make_model()
    fit(model, epochs=2)
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert contents(other) == contents(model)
    assert weights(other) == weights(model)


def test_a_saved_model_directory_is_refused(tmp_path):
    model = make_model()
    with pytest.raises(
        mt.MonolithError, match=r"serving\.export_saved_model\(model, directory"
    ):
        tf.saved_model.save(model, str(tmp_path / "model"))


def test_get_weights_and_set_weights_are_refused_with_the_way_that_works():
    model = make_model()
    fit(model)
    before = contents(model)
    with pytest.raises(mt.MonolithError, match="ModelCheckpoint.*load_weights"):
        model.get_weights()
    arrays = [np.zeros(w.shape, np.float32) for w in model.weights]
    with pytest.raises(mt.MonolithError, match="mt.Table.assign"):
        model.set_weights(arrays)
    assert contents(model) == before


def test_restore_best_weights_is_refused():
    model = make_model()
    stop = tf_keras.callbacks.EarlyStopping(
        monitor="loss", patience=0, restore_best_weights=True
    )
    with pytest.raises(
        mt.MonolithError, match="restore_best_weights.*save_best_only=True"
    ):
        fit(model, epochs=3, callbacks=[stop])


class LossFromList(tf_keras.callbacks.Callback):
    """Reports losses that somebody wrote down."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        logs["loss"] = self.losses[epoch]
        self.seen.append((contents(self.model), weights(self.model)))


def test_the_best_epoch_is_kept_by_model_checkpoint(tmp_path):
    model = make_model()
    path = tmp_path / "best"
    losses = LossFromList([3.0, 1.0, 2.0])
    best = tf_keras.callbacks.ModelCheckpoint(
        path, monitor="loss", save_best_only=True, save_weights_only=True
    )
    fit(model, epochs=3, callbacks=[losses, best])
    assert contents(model) != losses.seen[1][0]
    model.load_weights(path)
    assert contents(model) == losses.seen[1][0]
    assert weights(model) == losses.seen[1][1]


def test_jit_compile_is_refused_in_fit():
    model = make_model(jit_compile=True)
    with pytest.raises(ValueError, match="Leave jit_compile=True out"):
        fit(model)
    assert contents(model) == {"genre": {}, "movie": {}}


def test_jit_compile_of_a_function_is_refused():
    with mt.TableSet():
        layer = mt.layers.DynamicEmbedding(mt.TableConfig("movie", dim=2))
    function = tf.function(lambda ids: layer(ids), jit_compile=True)
    # XLA's own words where no Keras model compiles.
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError),
        match="MonolithPartition|Leave jit_compile=True out",
    ):
        function(tf.constant([1], tf.int64))


def test_a_layer_is_made_again_from_its_config():
    layer = make_model().layers[1]
    with mt.TableSet():
        again = type(layer).from_config(layer.get_config())
    assert again.get_config().keys() == layer.get_config().keys()
    for ours, theirs in zip(again.features, layer.features, strict=True):
        assert ours.config.same_as(theirs.config)
        assert (ours.name, ours.combiner, ours.padding_id) == (
            theirs.name,
            theirs.combiner,
            theirs.padding_id,
        )
    assert [t.name for t in again.tables] == [t.name for t in layer.tables]
    assert again.tables[0] is not layer.tables[0]
